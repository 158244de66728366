"""What a version is not able to do is refused by field, before a recording is heard."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError

from hotline.wishes import Abilities
from serving import transcription_form

ABLE = Abilities(words=True, characters=frozenset("路灯西桥abc"), dialects=("cmn", "en"))


def fields(**given: Any) -> dict[str, list[str]]:
    return {"model": ["speech"], **{name: list(values) for name, values in given.items()}}


def problems(able: Abilities, **given: Any) -> list[tuple[str, str]]:
    try:
        transcription_form.check(transcription_form.parse(fields(**given)), able)
    except RequestValidationError as error:
        return [(str(each["loc"][-1]), str(each["msg"])) for each in error.errors()]
    return []


WORDS: dict[str, Any] = {"response_format": ["verbose_json"], transcription_form.GRANULARITIES: ["word"]}


def test_a_version_that_learnt_no_places_of_words_is_not_asked_for_them() -> None:
    assert problems(ABLE, **WORDS) == []
    [(field, words)] = problems(Abilities(characters=frozenset()), **WORDS)
    assert field == transcription_form.GRANULARITIES
    assert "word_times" in words


def test_a_version_that_writes_by_itself_cannot_be_told_words() -> None:
    assert problems(Abilities(words=True), prompt=["路灯"]) == [
        ("keywords[] or prompt", "nothing: this version cannot be told words to listen for")
    ]


def test_a_prompt_is_a_list_of_words() -> None:
    asked = transcription_form.parse(fields(prompt=["路灯、西桥；路灯, a b。"], **{"keywords[]": ["灯"]}))
    assert asked.words == ("灯", "路灯", "西桥", "a b")
    with pytest.raises(RequestValidationError):
        transcription_form.parse(fields(prompt=["这是一个很长的句子" * 5]))


@pytest.mark.parametrize(
    "given",
    [
        {"include[]": ["logprobs"], "response_format": ["text"]},
        {"stream": ["true"], "response_format": ["srt"]},
        {"language": ["zh"], "languages[]": ["en"]},
        {"keywords[]": ["字"] * 201},
        {"keywords[]": [""]},
        {"stream": ["perhaps"]},
        {"stream": ["0"]},
        {"chunking_strategy": ["none"]},
    ],
    ids=str,
)
def test_fields_that_do_not_fit_together_are_refused(given: dict[str, list[str]]) -> None:
    with pytest.raises(RequestValidationError):
        transcription_form.parse(fields(**given))
