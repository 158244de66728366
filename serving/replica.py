"""A replica: one copy of one judged version. It verifies by itself what it was asked to serve, or refuses to start."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from ray import serve

from hotline import digests, families, policy, registry, tasks, voice_activity
from hotline.audio import Audio
from hotline.errors import HotlineError, IntegrityError, NoAnswer
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Input, Task
from hotline.wishes import NOTHING, Abilities, Wish
from serving import routes, warrant
from serving.warrant import Warrant

log = logging.getLogger("ray.serve")


class Options(BaseModel):
    """What one replica may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_rows: int = 32
    batch_seconds: float = 60.0
    """Sound in one batch at most, padding included: rows times the longest one."""
    batch_wait_seconds: float = 0.002
    """How long the first call of a batch waits for others; while a batch is computed the next one gathers anyway."""
    waiting: int = 256
    """Texts that wait to be written; a writer refuses more."""
    cache_bytes: int = 1024**3
    """Keys and values of the texts that a writer writes at once."""
    threads: int = 1
    ongoing: int = 128
    """Calls that a replica takes at once; more wait in the ingress, up to the policy's queue."""
    drain_seconds: float = 30.0


class Asked(NamedTuple):
    """One call: the input, and what its caller wishes for beside."""

    question: Input
    wish: Wish


class Replica:
    """Answers one task with one version."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, settings: Settings, task: str, entry: int, options: Options
    ) -> None:
        try:
            self._start(settings, tasks.find(task), entry, options)
        except Exception as error:
            reason = str(error) if isinstance(error, HotlineError) else f"{type(error).__name__}: {error}"
            await routes.find().refuse.remote(serve.get_replica_context().app_name, reason)
            raise

    def _start(self, settings: Settings, task: Task, entry: int, options: Options) -> None:
        import torch

        torch.set_num_threads(options.threads)
        self._task = task
        self._warrant = verify(settings, task, entry)
        self._model: Any
        with private_copy(settings, self._warrant.model) as folder:
            check_declaration(Path(folder), task)
            self._family, self._model = families.load(Path(folder), task)
        self._warm_up(options)
        seconds = options.batch_seconds if task.audio_field else math.inf
        self._batched: Any = serve.batch(
            max_batch_size=options.batch_rows,
            batch_wait_timeout_s=options.batch_wait_seconds,
            batch_size_fn=partial(_places, rows=options.batch_rows, seconds=seconds),
        )(self._batch)

    def _warm_up(self, options: Options) -> None:
        """Answer the task's examples, alone and as full batches, so that no caller pays for first-time costs."""
        examples = [self._task.input.model_validate(example) for example in self._task.examples]
        lengthened = [long for example in examples for long in _lengthened(example, self._task)]
        longest = max(1, int(options.batch_seconds / voice_activity.LONGEST_SECONDS))
        for rows in (examples, (examples * options.batch_rows)[: options.batch_rows], lengthened * longest):
            if rows:
                self._answers([Asked(row, NOTHING) for row in rows])

    def identity(self) -> str:
        """The digest of the bytes that answer here."""
        return self._warrant.model.digest

    def abilities(self) -> Abilities:
        """What this version is able to do beside answering."""
        return families.abilities(self._family, self._model)

    async def answer(self, question: Input, wish: Wish = NOTHING) -> dict[str, Any]:
        """The answer to one call, as `Answer` in plain values. Raises what the family raised for this very input."""
        reply = await self._batched(Asked(question, wish))
        if isinstance(reply, Exception):
            raise reply
        return plain(reply, wish)

    async def _batch(self, calls: list[Asked]) -> list[Answer | Exception]:
        return await asyncio.to_thread(self._each, calls)

    def _each(self, calls: Sequence[Asked]) -> list[Answer | Exception]:
        """Answers in order; when the batch fails, each row alone, so that one bad input harms no other caller."""
        try:
            return list(self._answers(calls))
        except Exception as error:
            if len(calls) > 1:
                return [reply for call in calls for reply in self._each([call])]
            if isinstance(error, ValidationError):
                return [no_answer(self._task)]
            log.exception("an input could not be answered")
            return [RuntimeError("the model could not answer this input")]

    def _answers(self, calls: Sequence[Asked]) -> list[Answer]:
        questions, wishes = [call.question for call in calls], [call.wish for call in calls]
        return families.answer(self._family, self._model, questions, max(len(calls), 1), wishes)


def places(questions: Sequence[Input], rows: int, seconds: float) -> int:
    """How many of a batch's `rows` places these take: padded to the longest of them, `seconds` fill all places.

    One question alone always fits.
    """
    padded = len(questions) * max(map(families.size, questions))
    taken = max(len(questions), math.ceil(rows * padded / seconds))
    return taken if len(questions) > 1 else min(taken, rows)


def _places(calls: Sequence[Asked], rows: int, seconds: float) -> int:
    return places([call.question for call in calls], rows, seconds)


def _lengthened(example: Input, task: Task) -> list[Input]:
    """An example that is a recording, as long as stretches get; nothing for other examples."""
    if not task.audio_field:
        return []
    sound: Audio = getattr(example, task.audio_field)
    samples = np.resize(sound.samples, int(voice_activity.LONGEST_SECONDS * sound.sample_rate_hz))
    return [example.model_copy(update={task.audio_field: Audio(samples, sound.sample_rate_hz)})]


def plain(answer: Answer, wish: Wish = NOTHING) -> dict[str, Any]:
    """An answer as JSON values: `answer`, `confidence`, `alternatives`, `answered_by` of a version made of several,
    and `words` and `tokens` where wished for."""
    wished: dict[str, Any] = {"words": [word.model_dump() for word in answer.words]} if wish.words else {}
    wished |= {"tokens": list(answer.tokens)} if wish.tokens else {}
    wished |= {"answered_by": answer.answered_by} if answer.answered_by else {}
    return {
        **wished,
        "answer": answer.target.model_dump(mode="json"),
        "confidence": answer.confidence,
        "alternatives": [
            {"answer": target.model_dump(mode="json"), "confidence": confidence}
            for target, confidence in answer.alternatives
        ],
    }


def no_answer(task: Task) -> NoAnswer:
    """What a caller hears when the version wrote nothing that the task allows; asking again changes nothing."""
    return NoAnswer(
        f"this version finds no answer to this input that {task.name} allows",
        where="body",
        next="put the input in other words; the same input is answered the same",
    )


def verify(settings: Settings, task: Task, entry: int) -> Warrant:
    """The warrant of ledger entry `entry`, from a chain that this process verified itself. Raises RefusedError,
    IntegrityError."""
    chain = warrant.ledger(settings).read()
    return warrant.examine(chain, policy.load(settings.workspace), task.name, chain.by_seq(entry))


def private_copy(settings: Settings, address: ModelAddress) -> tempfile.TemporaryDirectory[str]:
    """A copy of the version's files that nobody else has, every byte checked after it was copied.

    It is removed when the model is loaded: what is mapped into memory stays, and cannot be edited any more.
    Raises IntegrityError.
    """
    place = settings.state / "replicas"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(dir=place)
    try:
        shutil.copytree(settings.verified / address.digest, scratch.name, dirs_exist_ok=True)
        registry.check(Path(scratch.name), address)
    except OSError as error:
        scratch.cleanup()
        raise IntegrityError("the verified files cannot be copied", where=address.digest, found=error) from error
    except IntegrityError:
        scratch.cleanup()
        raise
    return scratch


def check_declaration(folder: Path, task: Task) -> None:
    """Raises IntegrityError when the version was made for another declaration of the task."""
    lineage = Lineage.model_validate(json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8")))
    expected = digests.of_value(families.by(task, lineage.family).declaration())
    if lineage.declarations.get(task.name) != expected:
        raise IntegrityError(
            f"this version was made for another declaration of {task.name}",
            where=LINEAGE_FILE,
            found=", ".join(f"{name} {digest[:12]}" for name, digest in lineage.declarations.items()),
            expected=f"{task.name} {expected[:12]}",
            next="hotline train its recipe again, then judge and promote it",
        )


def application(settings: Settings, found: Warrant, options: Options, queue: int) -> Any:
    """The Ray Serve application of one version; `queue` calls may wait for it."""
    deployment: Any = serve.deployment(
        _class_of(found),
        name="Replica",
        num_replicas=1,
        max_ongoing_requests=options.ongoing,
        max_queued_requests=queue,
        max_constructor_retry_count=1,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=options.drain_seconds,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(settings, found.champion.record.task, found.champion.entry.seq, options)


def _class_of(found: Warrant) -> type[Replica]:
    """Writers write for many callers at once, in an engine of their own; the one within a cascade, too."""
    family = found.verdict.evidence.lineage.family or tasks.find(found.champion.record.task).family
    if family not in ("writer", "cascade"):
        return Replica
    from serving import cascades, writing

    return writing.WriterReplica if family == "writer" else cascades.CascadeReplica
