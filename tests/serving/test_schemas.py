"""Answers held to JSON schemas: random schemas, a writer with random weights, every answer valid."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

from hotline.errors import InputError
from hotline.families import writer
from hotline.families.writer_options import Sampling, WriterOptions
from hotline.tasks import find
from serving.engines.continuous import Bounds, Continuous
from serving.engines.grammar import Vocabulary
from serving.engines.plans import Piece, Plan, joined

TASK = find("ticket_summary")
WORDS = ["地点", "事项", "類別", "name", "日期", "紧急", "count", "备注"]
PARTS = ("东南西北中上下左右前", "街路巷道桥里村镇区县", map(chr, range(0x4E00, 0x4E28)))
CATEGORIES = ["".join(parts) for parts in itertools.product(*PARTS)]


@pytest.fixture(scope="module")
def model() -> Any:
    """Nothing trained it; its vocabulary is that of a few texts."""
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 1, "heads": 1, "vocabulary": 600, "max_tokens": 4096}
    inputs = [TASK.input.model_validate({"text": text}) for text in ("".join(WORDS) * 3, "".join(CATEGORIES[::9]))]
    targets = [TASK.target.model_validate({"text": '{"a":"b"},[1,2],true,null'})] * 2
    made = writer.create(
        WriterOptions.model_validate({"architecture": "scratch", **sizes}), TASK, None, inputs, targets
    )
    return made.eval()


@pytest.fixture(scope="module")
def vocabulary(model: Any) -> Vocabulary:
    return Vocabulary(model.chat, model.model.config.vocab_size)


@pytest.fixture(scope="module")
def engine(model: Any) -> Iterator[Continuous]:
    made = Continuous(model, Bounds())
    yield made
    made.stop()


def schema(draw: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema of objects, arrays, enumerations, numbers and texts, nested up to four deep."""
    kinds = ["enum", "string", "integer", "number", "boolean", "null", "large", "pattern", "either"]
    kind = draw.choice(kinds if depth > 3 else ["object"] * 4 + ["array"] * 3 + kinds)
    if depth == 0 or kind == "object":
        names = draw.sample(WORDS, draw.randint(1, 5))
        return {
            "type": "object",
            "properties": {name: schema(draw, depth + 1) for name in names},
            "required": [name for name in names if draw.random() < 0.6],
            "additionalProperties": draw.random() < 0.2,
        }
    if kind == "array":
        fewest, more = draw.randint(0, 2), draw.randint(0, 3)
        return {"type": "array", "items": schema(draw, depth + 1), "minItems": fewest, "maxItems": fewest + more}
    if kind == "either":
        return {"anyOf": [schema(draw, 9), {"type": "null"}]}
    return {
        "enum": {"enum": draw.sample(CATEGORIES, 3)},
        "large": {"enum": CATEGORIES},
        "pattern": {"type": "string", "pattern": draw.choice(["^[0-9]{11}$", "^[东南西北]街[1-9][0-9]?号$"])},
        "string": draw.choice([{"type": "string"}, {"type": "string", "minLength": 2, "maxLength": 8}]),
        "integer": draw.choice([{"type": "integer"}, {"type": "integer", "minimum": 3, "maximum": 40}]),
    }.get(kind, {"type": kind})


def plan(model: Any, vocabulary: Vocabulary, form: dict[str, Any], longest: int, seed: int = 0) -> Plan:
    limits = model.chat.limits._replace(longest=longest, never_first=())
    sampling = Sampling(temperature=1.0, top_p=1.0)
    return Plan([5, 6, 7], limits, sampling, np.random.default_rng(seed), grammar=vocabulary.grammar(form, "schema"))


def answers(engine: Continuous, plans: list[Plan]) -> list[Piece]:
    async def written() -> list[Piece]:
        found: dict[int, list[Piece]] = {}
        async for pieces in engine.write(plans):
            for number, piece in pieces.items():
                found.setdefault(number, []).append(piece)
        return [joined(found[number]) for number in range(len(plans))]

    return asyncio.run(written())


def check(engine: Continuous, model: Any, vocabulary: Vocabulary, seeds: range, longest: int = 700) -> None:
    forms = [schema(random.Random(seed)) for seed in seeds]
    plans = [plan(model, vocabulary, form, longest, seed) for form, seed in zip(forms, seeds, strict=True)]
    for form, piece in zip(forms, answers(engine, plans), strict=True):
        found = json.loads(piece.text)
        jsonschema.validate(found, form)
        assert piece.finish == "stop"
        assert _is_compact(piece.text)
        assert "\\u" not in piece.text


def _is_compact(text: str) -> bool:
    """Whether no blank stands outside of strings."""
    within = escaping = False
    for character in text:
        if not within and character.isspace():
            return False
        within ^= character == '"' and not escaping
        escaping = character == "\\" and not escaping
    return True


def test_every_answer_is_valid_compact_and_in_plain_characters(
    engine: Continuous, model: Any, vocabulary: Vocabulary
) -> None:
    check(engine, model, vocabulary, range(12))


@pytest.mark.slow
def test_200_random_schemas_are_all_kept(engine: Continuous, model: Any, vocabulary: Vocabulary) -> None:
    for start in range(0, 200, 25):
        check(engine, model, vocabulary, range(start, start + 25))


def test_an_answer_closes_before_its_tokens_run_out(engine: Continuous, model: Any, vocabulary: Vocabulary) -> None:
    text = {"type": "string", "minLength": 5}
    parts = {"a": text, "b": {"type": "array", "items": text, "minItems": 2}}
    form = {"type": "object", "properties": parts, "required": ["a", "b"]}
    for piece in answers(engine, [plan(model, vocabulary, form, longest, longest) for longest in (45, 60, 90)]):
        jsonschema.validate(json.loads(piece.text), form)
    [cut] = answers(engine, [plan(model, vocabulary, form, 8)])
    assert cut.finish == "length"


def test_characters_that_have_no_other_spelling_are_escaped(
    engine: Continuous, model: Any, vocabulary: Vocabulary
) -> None:
    [piece] = answers(engine, [plan(model, vocabulary, {"const": "甲\u0001乙"}, 60)])
    assert piece.text == '"甲\\u0001乙"'


def test_a_schema_that_holds_itself_ends(engine: Continuous, model: Any, vocabulary: Vocabulary) -> None:
    form = {
        "type": "object",
        "properties": {"子": {"$ref": "#"}, "名": {"type": "string"}},
        "additionalProperties": False,
    }
    for piece in answers(engine, [plan(model, vocabulary, form, 120, seed) for seed in range(6)]):
        jsonschema.validate(json.loads(piece.text), form)


@pytest.mark.parametrize(
    ("form", "place"),
    [
        ({"not": {}}, "schema"),
        ({"properties": {"甲": {"items": {"uniqueItems": True}}}}, "schema.properties.甲.items"),
        ({"anyOf": [{"type": "null"}, {"format": "杂"}]}, "schema"),
        ({"$defs": {"a": {"if": {}}}, "properties": {"b": {"$ref": "#/$defs/a"}}}, "schema.$defs.a"),
        ({"properties": {"b": {"$ref": "https://example.org/a"}}}, "schema.properties.b"),
        ({"type": "string", "pattern": "(?=a)b"}, "schema"),
    ],
)
def test_what_cannot_be_held_to_is_refused_by_its_place(
    vocabulary: Vocabulary, form: dict[str, Any], place: str
) -> None:
    with pytest.raises(InputError) as caught:
        vocabulary.grammar(form, "schema")
    assert str(caught.value.where).startswith(place)
