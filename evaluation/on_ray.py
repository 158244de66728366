"""Answering on a Ray cluster through Ray Data: actors that load the verified version once and take batches.

Every node needs this version of the code and the workspace at the same path (a shared file system). Only ids travel:
an actor reads the rows from the corpus itself, so no memory holds a large test set twice, and shows by a digest that
they are those that were meant.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evaluation import answers
from evaluation.answers import Batch, Reply
from evaluation.unfinished import decode, encode
from hotline import digests, registry, tasks
from hotline.errors import HotlineError, IntegrityError, UnavailableError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Input, Task

if TYPE_CHECKING:
    from data.store import Snapshot

MAX_BLOCKS = 2_000


def answer(
    settings: Settings,
    task: Task,
    address: ModelAddress,
    batches: Sequence[Batch],
    *,
    snapshot: str,
    ids: Sequence[str],
) -> Iterator[Reply]:
    """The batches' answers as they come, from the cluster that RAY_ADDRESS names, else from one on this machine.

    `ids` are those of all rows, and `snapshot` has them. Raises UnavailableError when an actor fails, and the
    HotlineError that one met.
    """
    ray = _connected()
    rows = [
        {
            "start": batch.start,
            "ids": list(ids[batch.start : batch.start + len(batch.inputs)]),
            "inputs": _digest(batch.inputs),
        }
        for batch in batches
    ]
    actors = max(1, min(len(rows), int(ray.cluster_resources().get("CPU", 1))))
    replies = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS)).map_batches(
        _Answering,
        fn_constructor_args=(settings, task.name, snapshot, address),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=1,
    )
    try:
        for row in replies.iter_rows():
            if row["refused"]:
                raise pickle.loads(row["refused"])
            start, asked = int(row["start"]), list(row["ids"])
            reply = decode(task, start, asked, row["reply"])
            if reply is None:
                raise UnavailableError("an actor answered other rows than it was asked", where=f"row {start + 1}")
            yield reply
    except ray.exceptions.RayError as error:
        raise _failed(error, address) from error


def _connected() -> Any:
    """The library, with a cluster to talk to. What Ray Data logs goes to the session's files, not to the screen."""
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    return ray


class _Answering:
    """One actor. Raises IntegrityError when the copy of the version is not what was verified, or rows are others."""

    def __init__(self, settings: Settings, task: str, snapshot: str, address: ModelAddress) -> None:
        self._settings, self._task, self._address, self._digest = settings, tasks.find(task), address, snapshot

    @cached_property
    def _snapshot(self) -> Snapshot:
        from data.store import open_snapshot

        return open_snapshot(self._settings, self._task, self._digest, every_sample=False)

    @cached_property
    def _answer(self) -> Callable[[Batch], Reply]:
        """Loaded with the first batch: of an actor that dies while it is made, Ray forgets the reason."""
        registry.check(self._settings.verified / self._address.digest, self._address)
        return answers.loaded(self._settings, self._task, self._address)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """One batch. A refusal travels as data: of what an actor raises, Ray brings words and not the exception."""
        [start], [asked], [expected] = rows["start"], rows["ids"], rows["inputs"]
        ids, reply, refused = [str(id) for id in asked], b"", b""
        try:
            reply = self._reply(int(start), ids, expected)
        except HotlineError as error:
            refused = pickle.dumps(error)
        return {"start": [int(start)], "ids": [ids], "reply": [reply], "refused": [refused]}

    def _reply(self, start: int, ids: list[str], expected: str) -> bytes:
        batch = Batch(start, self._snapshot.inputs(ids))
        if _digest(batch.inputs) != expected:
            raise IntegrityError(
                "a node reads other rows than were to be answered",
                where=str(self._settings.corpora),
                found=f"snapshot {self._snapshot.digest[:12]}",
                next="share the workspace's file system between all nodes",
            )
        return encode(ids, self._answer(batch))


def _digest(inputs: Sequence[Input]) -> str:
    return digests.of_value([given.model_dump(mode="json") for given in inputs])


def _failed(error: BaseException, address: ModelAddress) -> HotlineError:
    said = str(error).strip().splitlines()
    return UnavailableError(
        f"Ray could not answer with {address.line}@{address.version}",
        found=said[-1] if said else type(error).__name__,
        next=f"hotline judge {address.line} --on ray goes on with what was answered",
    )
