"""The fields of `POST /v1/audio/transcriptions`, and whether a version is able to do what they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hotline import dialects
from hotline.wishes import Abilities, Wish

GRANULARITIES, INCLUDE, LANGUAGES, KEYWORDS = "timestamp_granularities[]", "include[]", "languages[]", "keywords[]"
LISTS = {GRANULARITIES, INCLUDE, LANGUAGES, KEYWORDS}
MAX_KEYWORDS, MAX_KEYWORD_CHARACTERS = 200, 40
LANGUAGES_OF_ISO_639_1 = {
    "zh": {"cmn", "yue", "wuu", "nan", "hak", "gan", "hsn", "cjy", "cdo", "cpx", "mnp", "czo", "cnp", "csp", "czh"},
    "en": {"eng"},
}
"""The two-letter codes that OpenAI's clients send, as the ISO 639-3 codes of the dialect registry."""
_BETWEEN_KEYWORDS = re.compile(r"[,，、;；。.!！?？:：\r\n\t]+")


def _flag(value: Any) -> Any:
    """A form's truth value, as clients write it; 0 and `on` are none."""
    named = {"true": True, "True": True, "false": False, "False": False}
    return named.get(value, value) if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(_flag), Field(strict=True)]


class KnownLanguage:
    """Marks a text that is a tag of the dialect registry, the beginning of one, or a language."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_known_language, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": _known_languages()}


def _known_language(value: str) -> str:
    if not tags_of(value):
        raise PydanticCustomError(
            "unknown_language",
            "a tag of the dialect registry (`hotline dialects` lists them), or a language: {known}",
            {"known": ", ".join(sorted({*LANGUAGES_OF_ISO_639_1, *(languages().values())}))},
        )
    return value


def _known_languages() -> list[str]:
    """Everything that `tags_of` finds tags for."""
    parts = [tag.split("-") for tag in languages()]
    beginnings = {"-".join(part[: length + 1]) for part in parts for length in range(len(part))}
    return sorted({*LANGUAGES_OF_ISO_639_1, *languages().values(), *beginnings})


Language = Annotated[str, KnownLanguage()]
Keyword = Annotated[str, Field(min_length=1, max_length=MAX_KEYWORD_CHARACTERS)]


class TranscriptionForm(BaseModel):
    """The form's fields beside the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[
        str, Field(max_length=200, description="The line, `line@version`, or the task's name `transcription`")
    ]
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] = "json"
    language: Annotated[
        Language | None,
        Field(
            description="A dialect tag or a language that the version can hear. It does not steer the version: the "
            "header X-Language-Heard says whether that is what was heard"
        ),
    ] = None
    languages: Annotated[
        tuple[Language, ...],
        Field(alias=LANGUAGES, max_length=20, description="Several; not beside `language`"),
    ] = ()
    keywords: Annotated[
        tuple[Keyword, ...],
        Field(alias=KEYWORDS, max_length=MAX_KEYWORDS, description="Words that are expected to be said"),
    ] = ()
    prompt: Annotated[
        str,
        Field(max_length=4000, description="Keywords too: words or short phrases, divided by commas or other marks"),
    ] = ""
    temperature: Annotated[float, Field(ge=0, le=0, description="Only 0: the most likely text")] = 0
    timestamp_granularities: Annotated[
        tuple[Literal["word", "segment"], ...], Field(alias=GRANULARITIES, description="With verbose_json only")
    ] = ()
    include: Annotated[
        tuple[Literal["logprobs"], ...], Field(alias=INCLUDE, description="With response_format json only")
    ] = ()
    stream: Annotated[Flag, Field(description="Events as stretches are heard; with json, text, diarized_json")] = False
    chunking_strategy: Annotated[
        Literal["auto"], Field(description="Long recordings are always cut at their pauses")
    ] = "auto"

    @model_validator(mode="after")
    def _fits_together(self) -> TranscriptionForm:
        shown = self.response_format
        if self.timestamp_granularities and shown != "verbose_json":
            raise PydanticCustomError("granularities", "timestamp granularities need response_format verbose_json")
        if self.include and shown != "json":
            raise PydanticCustomError("include", "log-probabilities need response_format json")
        if self.stream and shown not in ("json", "text", "diarized_json"):
            raise PydanticCustomError("stream", "a stream needs response_format json, text or diarized_json")
        if self.language and self.languages:
            raise PydanticCustomError("languages", "either language or languages[]")
        if any(len(word) > MAX_KEYWORD_CHARACTERS for word in self.words):
            raise PydanticCustomError(
                "prompt",
                "prompt: words or phrases of at most {most} characters each, divided by commas or other marks",
                {"most": MAX_KEYWORD_CHARACTERS},
            )
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The hotwords: the keywords, and the parts of the prompt."""
        parts = (part.strip() for part in _BETWEEN_KEYWORDS.split(self.prompt))
        return tuple(dict.fromkeys([*(word.strip() for word in self.keywords), *(part for part in parts if part)]))

    @property
    def wanted_languages(self) -> tuple[str, ...]:
        return (self.language,) if self.language else self.languages

    @property
    def shows_times(self) -> bool:
        return self.response_format in ("verbose_json", "srt", "vtt", "diarized_json")

    def wish(self, able: Abilities) -> Wish:
        """What is asked of the version beside the text."""
        words = self.shows_times and able.words
        return Wish(words=words, tokens=bool(self.include), hotwords=self.words)


def parse(fields: Mapping[str, list[str]]) -> TranscriptionForm:
    """The fields, typed. Raises RequestValidationError that names each one that is wrong."""
    values = {name: tuple(given) if name in LISTS else given[0] for name, given in fields.items()}
    try:
        return TranscriptionForm.model_validate(values)
    except ValidationError as error:
        found: list[Any] = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from error


def check(asked: TranscriptionForm, able: Abilities) -> None:
    """Raises RequestValidationError that names everything the version that answers is not able to do."""
    problems = [
        {"type": "value_error", "loc": ("body", field), "msg": expected, "input": found}
        for field, found, expected in _unable(asked, able)
    ]
    if problems:
        raise RequestValidationError(problems)


def _unable(asked: TranscriptionForm, able: Abilities) -> Iterator[tuple[str, Any, str]]:
    """Field, what was given, and what would be right."""
    for number, language in enumerate(asked.wanted_languages):
        if not tags_of(language) & set(able.dialects):
            field = "language" if asked.language else f"{LANGUAGES}.{number}"
            yield field, language, "what this version can hear: " + (", ".join(able.dialects) or "nothing it can tell")
    if "word" in asked.timestamp_granularities and not able.words:
        yield (
            GRANULARITIES,
            asked.timestamp_granularities,
            "'segment': this version has not learnt where words lie (`word_times` in its recipe)",
        )
    if asked.words and able.characters is None:
        yield "keywords[] or prompt", asked.words, "nothing: this version cannot be told words to listen for"
        return
    for number, word in enumerate(asked.words):
        strange = set(word.lower()) - (able.characters or frozenset()) - {" "}
        if strange:
            field = f"{KEYWORDS}.{number}" if number < len(asked.keywords) else "prompt"
            yield field, word, f"characters that this version can write; {len(strange)} of these it cannot"


def tags_of(name: str) -> set[str]:
    """The tags that a language or a dialect tag stands for: its own and those under it; none for an unknown one."""
    spoken = LANGUAGES_OF_ISO_639_1.get(name, {name})
    return {tag for tag, language in languages().items() if language in spoken or f"{tag}-".startswith(f"{name}-")}


def languages() -> dict[str, str]:
    """The ISO 639-3 language of every dialect tag."""
    return {entry.tag: entry.language for entry in dialects.registry().dialects}
