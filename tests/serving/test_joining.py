"""Answers that are written side by side: who begins when, who leaves, and that they are the judged ones."""

from __future__ import annotations

import asyncio
import gc
import runpy
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from evaluation.answers import Batch, loaded
from hotline import digests
from hotline.audio import Audio
from hotline.families import transcriber
from hotline.families.transcriber_options import TranscriberOptions
from hotline.tasks import find
from serving.answers import plain
from serving.engines import threads
from serving.engines.joining import GROUP, Joining
from serving.replica import Options, Replica

if TYPE_CHECKING:
    from tests.serving.conftest import Site

SPEECH = (find("transcription"), find("dialect_identification"))
CHECKPOINTS = runpy.run_path(str(Path(__file__).parents[1] / "random_audio_language_models.py"))
TEXTS = ("路灯", "ba c", "冇水 ab")


@dataclass(eq=False)
class Word:
    """Written letter by letter."""

    text: str
    left: int


class Letters:
    """Words that are being written; the first step waits until `free` is set. A word of `room` letters fits."""

    def __init__(self, room: int = 1000) -> None:
        self.joins: list[list[str]] = []
        self.written: list[Word] = []
        self.room, self.most, self.steps = room, 0, 0
        self.breaks_at = -1
        self.stepping, self.free = threading.Event(), threading.Event()

    def join(self, wanted: Sequence[str]) -> list[Word | None]:
        if "broken" in wanted:
            raise ValueError("this one cannot begin")
        joined: list[Word | None] = []
        for text in wanted:
            fits = sum(len(word.text) for word in self.written) + len(text) <= self.room
            joined.append(Word(text, len(text)) if fits else None)
            self.written += [word for word in joined[-1:] if word]
        self.joins.append([word.text for word in joined if word])
        self.most = max(self.most, len(self.written))
        return joined

    def step(self) -> list[Word]:
        self.stepping.set()
        self.free.wait(10)
        self.steps += 1
        if self.steps == self.breaks_at:
            raise ValueError("this step fails")
        for word in self.written:
            word.left -= 1
        ended = [word for word in self.written if not word.left]
        for word in ended:
            self.leave(word)
        return ended

    def leave(self, word: Word) -> None:
        if word in self.written:
            self.written.remove(word)

    def answer(self, word: Word) -> str:
        if "unsaid" in word.text:
            raise ValueError("this is no answer")
        return word.text.upper()


class Watching:
    """Counts what it is told is being written."""

    now = 0

    def count(self, more: int) -> None:
        self.now += more

    def step(self, rows: int, seconds: float) -> None: ...


def asked_while_one_is_written(
    letters: Letters, *calls: str, most: int = 32, given_up: str = ""
) -> tuple[list[str | BaseException], list[str]]:
    """The replies to a call `first` and to those that come while it is written, and the order in which they came.

    `*` marks calls that are not urgent; one that is answered alone gets its own words back.
    """
    came, watching = list[str](), Watching()

    async def ask() -> list[str | BaseException]:
        with ThreadPoolExecutor(1) as thread:
            joining = Joining[str, str](letters, str, most, lambda call: call, is_urgent, thread, watching)

            async def one(call: str) -> str:
                reply = await joining.answer(call)
                came.append(call)
                return reply

            asking = [asyncio.create_task(one("first"))]
            await asyncio.to_thread(letters.stepping.wait, 10)
            asking += [asyncio.create_task(one(call)) for call in calls]
            await asyncio.sleep(0)
            for task, call in zip(asking[1:], calls, strict=True):
                if call == given_up:
                    task.cancel()
            await asyncio.sleep(0)
            letters.free.set()
            return await asyncio.gather(*asking, return_exceptions=True)

    replies = asyncio.run(ask())
    assert watching.now == 0
    return replies, came


def is_urgent(call: str) -> bool:
    return "*" not in call


def test_calls_join_one_that_is_written_and_a_short_one_does_not_wait_for_a_long_one() -> None:
    letters = Letters()
    replies, came = asked_while_one_is_written(letters, "a" * 40, "b", "c" * 10)
    assert letters.joins == [["first"], ["a" * 40, "b", "c" * 10]]
    assert replies == ["FIRST", "A" * 40, "B", "C" * 10]
    assert [call[0] for call in came] == ["f", "b", "c", "a"] or [call[0] for call in came] == ["b", "f", "c", "a"]
    assert letters.steps < 4 + 40 + 4 and not letters.written


def test_no_more_are_written_at_a_time_than_may_be_and_all_are_answered() -> None:
    letters = Letters()
    replies, _ = asked_while_one_is_written(letters, *["word"] * 20, most=5)
    assert letters.most == 5 and replies == ["FIRST", *["WORD"] * 20]


def test_many_that_wait_begin_in_groups_before_anything_more_is_written() -> None:
    letters = Letters(room=10_000)
    asked_while_one_is_written(letters, *["a" * 100] * (2 * GROUP))
    assert [len(join) for join in letters.joins] == [1, GROUP, GROUP]
    assert letters.steps <= 4 + 100 + 4


def test_urgent_calls_begin_first_and_the_others_a_few_at_a_time() -> None:
    letters = Letters()
    replies, _ = asked_while_one_is_written(letters, *["bulk*"] * 9, "urgent")
    assert letters.joins[1] == ["urgent"]
    assert all(len(join) <= GROUP // 4 for join in letters.joins[1:])
    assert replies == ["FIRST", *["BULK*"] * 9, "URGENT"]


def test_nothing_is_written_for_a_caller_who_gave_up_before_or_meanwhile() -> None:
    letters = Letters()
    replies, _ = asked_while_one_is_written(letters, "a" * 1000, "b", given_up="a" * 1000)
    assert letters.joins == [["first"], ["b"]] and replies[2] == "B"

    endless = Letters(room=10**8)
    endless.free.set()

    async def hang_up() -> None:
        with ThreadPoolExecutor(1) as thread:
            joining = Joining[str, str](endless, str, 4, lambda call: call, is_urgent, thread, Watching())
            asking = asyncio.create_task(joining.answer("a" * 10**7))
            while not endless.written:
                await asyncio.sleep(0.001)
            asking.cancel()
            assert await joining.answer("b") == "B"

    asyncio.run(hang_up())
    assert not endless.written


def test_one_that_cannot_begin_or_be_said_is_answered_alone_and_harms_no_other() -> None:
    letters = Letters()
    replies, _ = asked_while_one_is_written(letters, "a", "broken", "unsaid", "b")
    assert replies == ["FIRST", "A", "broken", "unsaid", "B"]


def test_after_a_step_that_fails_all_are_answered_alone_and_the_next_are_written_again() -> None:
    letters = Letters()
    letters.breaks_at = 2
    replies, _ = asked_while_one_is_written(letters, "a", "b")
    assert replies == ["first", "A", "B"]


def test_a_call_waits_for_room_and_one_for_which_there_never_is_any_is_answered_alone() -> None:
    letters = Letters(room=8)
    replies, _ = asked_while_one_is_written(letters, "aaaa", "b" * 9, "cccc")
    assert replies == ["FIRST", "AAAA", "b" * 9, "CCCC"]
    assert len(letters.joins) <= 5, "it is tried again when another has left"


@pytest.fixture
def calls() -> list[Any]:
    """Noise of very different lengths."""
    draw = np.random.default_rng(1)
    sounds = (draw.normal(0, 3000, int(length)).astype(np.int16) for length in draw.integers(800, 40_000, 24))
    return [SPEECH[0].input.model_validate({"audio": Audio(each, 8000)}) for each in sounds]


@pytest.mark.parametrize("kind", ["qwen3_asr", "fun_asr_nano"])
def test_a_language_model_hears_many_at_once_as_it_was_judged_and_leaves_nothing_behind(
    kind: str, site: Site, tmp_path: Path, calls: list[Any]
) -> None:
    CHECKPOINTS[kind](tmp_path / "base", TEXTS)
    described = {"architecture": "pretrained", "base": str(tmp_path / "base"), "language": "zh", "max_characters": 16}
    targets = [SPEECH[0].target.model_validate({"text": text, "dialect": "mandarin"}) for text in TEXTS]
    made = transcriber.create(TranscriberOptions.model_validate(described), SPEECH[0], None, calls[:3], targets)
    folder = site.settings.state / "made-recogniser"
    folder.mkdir(parents=True)
    transcriber.save(made.eval(), folder)
    model = site._kept(folder, "speech", 1, {task.name: digests.of_value(task.declaration()) for task in SPEECH})
    for task in SPEECH:
        entry = site.promote(model, site.judge(model, task=task).hash, task)
        replica: Any = Replica.__new__(Replica)
        replica._thread = threads.one(1)
        replica._verify(site.settings, task, entry.seq, Options(batch_rows=10))
        replica._load()
        assert isinstance(replica._batches, Joining) == (task is SPEECH[0])

        async def all_at_once(replica: Any = replica) -> list[dict[str, Any]]:
            return list(await asyncio.gather(*(replica.answer(each, urgent=n % 3 > 0) for n, each in enumerate(calls))))

        judged = [plain(answer) for answer in loaded(site.settings, task, model)(Batch(0, calls)).answers]
        served = asyncio.run(all_at_once())
        assert [_said(each) for each in served] == [_said(each) for each in judged]
        assert [each["confidence"] for each in served] == pytest.approx([each["confidence"] for each in judged], 1e-5)
        held = weakref.ref(replica._model)
        asyncio.run(_let_go_after_a_caller_has(replica, calls[0]))
        assert held() is None


async def _let_go_after_a_caller_has(replica: Any, call: Any) -> None:
    """The model goes while what was begun for a caller who hung up is still there."""
    asking = asyncio.create_task(replica.answer(call))
    await asyncio.sleep(0.01)
    asking.cancel()
    await replica._computed(replica._free)
    gc.collect()


def _said(reply: dict[str, Any]) -> Any:
    answer = reply["answer"]
    return answer.get("label") or (answer["text"], answer["dialect"])
