"""Continuous batching without HTTP: what is written side by side is what is written alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hotline import families
from hotline.errors import TooLarge, UnavailableError
from hotline.families import generation, row_cache, writer
from hotline.families.writer_options import Sampling
from hotline.task import Answer, Input
from hotline.tasks import find
from serving.engines.choosing import Chooser
from serving.engines.continuous import Bounds, Continuous
from serving.engines.plans import Penalties, Piece, Plan, joined
from serving.engines.texts import Text
from serving.engines.watcher import Nobody

if TYPE_CHECKING:
    from tests.serving.conftest import Site

ROWS = 40


@pytest.fixture(scope="module")
def model(live_site: Site) -> Any:
    """The tiny writer that is served, as the gate would load it."""
    torch.set_num_threads(1)
    champion = live_site.ledger.read().champion("ticket_summary")
    assert champion
    return writer.load(live_site.settings.verified / champion.record.model.digest, find("ticket_summary"))


@pytest.fixture
def engine(model: Any) -> Iterator[Continuous]:
    made = Continuous(model, Bounds(rows=7, prompt_tokens=32))
    yield made
    made.stop()


def inputs(model: Any, count: int = ROWS) -> list[Input]:
    """Generated tickets of very different lengths."""
    draw = np.random.default_rng(5)
    characters = list("您好东街西巷南路路灯井盖噪音三天没人管请尽快派维修，。abc 12")
    texts = ["".join(draw.choice(characters, int(5 * 40 ** draw.random()))) for _ in range(count)]
    return [model.chat.task.input.model_validate({"text": f"请问{text}"}) for text in texts]


async def written(engine: Continuous, plan: Plan) -> Piece:
    return joined([pieces[0] async for pieces in engine.write([plan])])


async def answered(engine: Continuous, model: Any, given: Input) -> Answer:
    [prompt] = writer.asked(writer.prepare(model, [given]))
    sampling = model.options.root.sampling
    draw = generation.draw(sampling.seed, prompt) if sampling else None
    piece = await written(engine, Plan(prompt, model.chat.limits, sampling, draw))
    shares = [math.exp(token.logprob) for token in piece.tokens]
    [answer] = writer.decode(model, [writer.state(model, [token.number for token in piece.tokens], shares)])
    return answer


def together(engine: Continuous, model: Any, rows: Sequence[Input]) -> list[Answer]:
    async def all_of_them() -> list[Answer]:
        return list(await asyncio.gather(*(answered(engine, model, given) for given in rows)))

    return asyncio.run(all_of_them())


def same(served: Sequence[Answer], judged: Sequence[Answer]) -> bool:
    assert [answer.target for answer in served] == [answer.target for answer in judged]
    return [answer.confidence for answer in served] == pytest.approx([each.confidence for each in judged], abs=1e-5)


@pytest.mark.parametrize("by_rows", [True, False], ids=["rows in one memory", "a cache per row"])
def test_answers_written_side_by_side_are_the_judged_ones(
    model: Any, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = inputs(model)
    judged = families.answer(writer, model, rows)  # type: ignore[arg-type]
    monkeypatch.setattr(model, "by_rows", by_rows)
    engine = Continuous(model, Bounds(rows=7, prompt_tokens=32))
    assert same(together(engine, model, rows), judged)
    engine.stop()
    assert engine.load == {"rows": 0, "waiting": 0, "tokens": 0}


def test_drawn_answers_are_the_judged_ones_too(engine: Continuous, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = model.options.root.model_copy(
        update={"sampling": Sampling(temperature=1.5, top_p=0.95, top_k=50, seed=3)}
    )
    monkeypatch.setattr(model, "options", type(model.options)(sampled))
    rows = inputs(model, 12)
    judged = families.answer(writer, model, rows)  # type: ignore[arg-type]
    assert same(together(engine, model, rows), judged)


def endless(model: Any, tokens: int, prompt: int = 20) -> Plan:
    limits = model.chat.limits._replace(longest=tokens)
    return Plan([5] * prompt, limits, bias=dict.fromkeys(model.chat.ends, -100.0))


def test_an_answer_that_nobody_waits_for_frees_its_memory(engine: Continuous, model: Any) -> None:
    async def leave_early() -> None:
        async for _ in engine.write([endless(model, 100_000)] * 3):
            break
        async with asyncio.timeout(60):
            while any(engine.load.values()):
                await asyncio.sleep(0.01)

    asyncio.run(leave_early())
    assert not any(engine.load.values())


def test_the_memory_is_never_more_than_it_was_given(model: Any) -> None:
    per_token = row_cache.bytes_per_token(model.model.config)
    engine = Continuous(model, Bounds(cache_bytes=100 * per_token))
    most = 0

    async def watched() -> None:
        nonlocal most
        answers = [asyncio.create_task(written(engine, endless(model, 20))) for _ in range(12)]
        while not all(answer.done() for answer in answers):
            most = max(most, engine.load["tokens"])
            await asyncio.sleep(0)
        assert {len((await answer).tokens) for answer in answers} == {20}

    asyncio.run(watched())
    assert 40 <= most <= 100
    with pytest.raises(TooLarge, match="longer than"):
        asyncio.run(written(engine, endless(model, 101)))
    engine.stop()


def test_when_too_many_wait_more_are_asked_to_come_again(model: Any) -> None:
    engine = Continuous(model, Bounds(rows=1, waiting=2))

    async def crowd() -> list[BaseException | Piece]:
        return list(
            await asyncio.gather(*(written(engine, endless(model, 30)) for _ in range(9)), return_exceptions=True)
        )

    found = asyncio.run(crowd())
    assert sum(isinstance(each, UnavailableError) for each in found) >= 6
    assert sum(isinstance(each, Piece) for each in found) >= 2
    engine.stop()


def test_an_answer_that_fails_harms_no_other(engine: Continuous, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Chooser.choose

    def failing(self: Chooser, logits_V: Any, done: int) -> Any:
        if self._plan.top == 7:
            raise TooLarge("no")
        return choose(self, logits_V, done)

    monkeypatch.setattr(Chooser, "choose", failing)

    async def both() -> list[Any]:
        plans = (endless(model, 20), replace(endless(model, 20), top=7))
        return list(await asyncio.gather(*(written(engine, plan) for plan in plans), return_exceptions=True))

    good, bad = asyncio.run(both())
    assert isinstance(bad, TooLarge) and len(good.tokens) == 20


class Counting(Nobody):
    """Notes how many answers it is told are being written."""

    now = most = 0

    def count(self, more: int) -> None:
        self.now += more
        self.most = max(self.most, self.now)


def test_what_is_written_is_counted_and_a_step_that_fails_is_not_the_last(
    engine: Continuous, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = engine.watcher = Counting()
    together(engine, model, inputs(model, 12))
    assert watcher.most == 7

    def failing(rows: Any) -> Any:
        monkeypatch.undo()
        raise ValueError("this step fails")

    monkeypatch.setattr(engine._memory, "read", failing)

    async def one_after_another() -> Piece:
        with pytest.raises(RuntimeError, match="could not answer"):
            await written(engine, endless(model, 20))
        piece = await written(engine, endless(model, 20))
        async with asyncio.timeout(60):
            while any(engine.load.values()):
                await asyncio.sleep(0.01)
        return piece

    assert len(asyncio.run(one_after_another()).tokens) == 20
    assert watcher.now == 0


def test_gaps_in_the_memory_are_used_again() -> None:
    memory = row_cache.RowCache(None, 100)
    first, second, third = (memory.take(30) for _ in range(3))
    assert first and second and third and memory.take(20) is None
    memory.give_back(second)
    assert memory.free == 40
    again = memory.take(25)
    assert again and again.start == second.start
    assert memory.take(10) and memory.free == 5


@pytest.mark.parametrize(
    ("penalties", "is_other"),
    [
        (Penalties(), False),
        (Penalties(presence=2.0), True),
        (Penalties(frequency=2.0), True),
        (Penalties(repetition=9.0), True),
    ],
)
def test_penalties_speak_against_what_was_written(penalties: Penalties, is_other: bool) -> None:
    limits = generation.Limits(10, [2], 0, [], [])
    chooser = Chooser(Plan([1], limits, penalties=penalties))
    scores = torch.tensor([0.0, 0.0, 0.0, 3.0, 2.0])
    numbers = [chooser.choose(scores, place).number for place in range(2)]
    assert numbers == [3, 4 if is_other else 3]


def test_bias_moves_what_is_written_and_not_what_is_told_of_the_model() -> None:
    limits = generation.Limits(10, [2], 0, [], [])
    scores = torch.tensor([0.0, 0.0, 0.0, 3.0, 2.0])
    token = Chooser(Plan([1], limits, bias={3: -100.0}, top=2)).choose(scores, 0)
    assert token.number == 4
    assert token.logprob == pytest.approx(float(scores.log_softmax(0)[4]))
    assert [number for number, _ in token.top] == [3, 4]


@pytest.mark.parametrize("text", ["路灯坏了，请派人！🙂 ok", "a b  c", "喂喂喂喂喂", "\N{REPLACEMENT CHARACTER}路"])
def test_deltas_are_whole_characters_and_together_the_whole_text(model: Any, text: str) -> None:
    numbers = model.chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(numbers) >= 4
    said = Text(model.chat, ())
    deltas = [said.add(number) for number in numbers]
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(deltas)
    assert "".join(deltas) + said.end() == text.replace("\N{REPLACEMENT CHARACTER}", "")


@pytest.mark.parametrize(
    ("stops", "expected"),
    [(("好了",), "路灯坏"), (("坏好", "了"), "路灯"), (("x", "灯坏x"), "路灯坏好了。"), (("。",), "路灯坏好了")],
)
def test_nothing_from_a_stop_text_on_is_said(model: Any, stops: tuple[str, ...], expected: str) -> None:
    said, text = Text(model.chat, stops), ""
    for number in model.chat.tokenizer("路灯坏好了。", add_special_tokens=False)["input_ids"]:
        if not said.stopped:
            text += said.add(number)
    text += "" if said.stopped else said.end()
    assert text == expected
