"""`POST /v1/audio/transcriptions`, as OpenAI's clients call it: what a version cannot do is refused, never ignored.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hotline import dialects
from hotline.errors import UnknownName
from hotline.tasks.speech.transcription import TRANSCRIPTION
from serving import forms
from serving.bodies import Body, Provenance
from serving.calls import ERRORS, Call, CallId, answering
from serving.recordings import Recordings
from serving.strict import MAX_NAME_CHARACTERS
from serving.switchboard import Switchboard

PATH = "/v1/audio/transcriptions"
GRANULARITIES = "timestamp_granularities[]"
LANGUAGES_OF_ISO_639_1 = {
    "zh": {"cmn", "yue", "wuu", "nan", "hak", "gan", "hsn", "cjy", "cdo", "cpx", "mnp", "czo", "cnp", "csp", "czh"},
    "en": {"eng"},
}
"""The two-letter codes that OpenAI's clients send, as the ISO 639-3 codes of the dialect registry."""
SMALLEST_PROBABILITY = 1e-6
FRAMES_PER_SECOND = 100
"""Of `seek`, which OpenAI counts in frames of 10 ms."""


def _known_language(value: str) -> str:
    if not tags_of(value):
        raise PydanticCustomError(
            "unknown_language",
            "a tag of the dialect registry (`hotline dialects` lists them), or a language: {known}",
            {"known": ", ".join(sorted({*LANGUAGES_OF_ISO_639_1, *(_languages().values())}))},
        )
    return value


class TranscriptionForm(BaseModel):
    """The form's fields beside the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[
        str, Field(max_length=200, description="The line, `line@version`, or the task's name `transcription`")
    ]
    response_format: Literal["json", "text", "verbose_json"] = "json"
    language: Annotated[
        str | None,
        BeforeValidator(_known_language),
        Field(
            description="A dialect tag or a language. It does not steer the version: the header X-Language-Heard says "
            "whether that is what was heard"
        ),
    ] = None
    temperature: Annotated[float, Field(ge=0, le=0, description="Only 0: the most likely text")] = 0
    timestamp_granularities: Annotated[
        tuple[Literal["segment"], ...], Field(alias=GRANULARITIES, description="With verbose_json only")
    ] = ()

    @model_validator(mode="after")
    def _times_only_where_they_are_shown(self) -> "TranscriptionForm":
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise PydanticCustomError("granularities", "timestamp granularities need response_format verbose_json")
        return self


class Transcription(Body):
    text: str


class TranscriptionSegment(Body):
    """A stretch of speech, by OpenAI's names, with our confidence and channel."""

    id: int
    seek: int = Field(description="Start in frames of 10 ms")
    start: float = Field(description="Seconds")
    end: float = Field(description="Seconds")
    text: str
    tokens: tuple[int, ...] = Field((), description="Always empty: token ids mean nothing outside of the model")
    temperature: float = 0.0
    avg_logprob: float = Field(description="Natural logarithm of `confidence`")
    compression_ratio: float = Field(description="Bytes of the text to bytes of it compressed: large when it loops")
    no_speech_prob: float = Field(
        0.0, description="Always 0: silence is cut out of long recordings, and not looked for in short clips"
    )
    confidence: float
    channel: int = Field(description="Of the recording, from 0")


class VerboseTranscription(Body):
    """OpenAI's verbose_json, with the dialect, the confidence and where the answer comes from."""

    task: Literal["transcribe"] = "transcribe"
    language: str = Field(description="Heard: ISO 639-3")
    duration: float = Field(description="Seconds")
    text: str
    segments: list[TranscriptionSegment]
    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    dialect: str = Field(description="Heard: a tag of the dialect registry")
    confidence: float
    provenance: Provenance


def add(app: FastAPI, switchboard: Switchboard, recordings: Recordings) -> None:
    """Add the route."""

    async def call(request: Request, x_call_id: CallId = None) -> Response:
        form = await forms.read(request, lists={GRANULARITIES})
        asked = _asked(form.fields)
        with answering(request, switchboard, TRANSCRIPTION) as ours:
            _check_model(asked.model, ours)
            said, seconds = await recordings.answer(TRANSCRIPTION, ours.route, form.content, {})
        return _response(asked, said, seconds, ours, ours.headers(x_call_id))

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=Transcription | VerboseTranscription,
        responses={**ERRORS, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        summary="A recording's text, as OpenAI's clients ask for it",
        operation_id="audio_transcriptions",
        tags=["OpenAI-compatible"],
        openapi_extra=forms.described(TranscriptionForm.model_json_schema()),
    )


def _asked(fields: Mapping[str, list[str]]) -> TranscriptionForm:
    """The fields, typed. Raises RequestValidationError that names each one that is wrong."""
    values = {name: tuple(given) if name == GRANULARITIES else given[0] for name, given in fields.items()}
    try:
        return TranscriptionForm.model_validate(values)
    except ValidationError as error:
        found: list[Any] = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from error


def _check_model(name: str, ours: Call) -> None:
    """Raises UnknownName unless that is what answers."""
    route = ours.route
    known = (route.line, f"{route.line}@{route.version}", route.task)
    if name not in known:
        raise UnknownName(
            "no such model answers here",
            where="body.model",
            found=name[:MAX_NAME_CHARACTERS],
            expected="one of " + ", ".join(known),
            next="GET /v1/models",
        )


def _response(
    asked: TranscriptionForm, said: Mapping[str, Any], seconds: float, ours: Call, headers: dict[str, str]
) -> Response:
    answer = said["answer"]
    headers = {**headers, "X-Dialect": answer["dialect"], "X-Confidence": f"{said['confidence']:.4f}"}
    if asked.language:
        heard = answer["dialect"] in tags_of(asked.language)
        headers["X-Language-Heard"] = "yes" if heard else "no"
    if asked.response_format == "text":
        return Response(answer["text"] + "\n", headers=headers, media_type="text/plain")
    plain = Transcription(text=answer["text"])
    body = plain if asked.response_format == "json" else _verbose(said, seconds, ours)
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")


def _verbose(said: Mapping[str, Any], seconds: float, ours: Call) -> VerboseTranscription:
    answer = said["answer"]
    return VerboseTranscription(
        language=_languages()[answer["dialect"]],
        duration=round(seconds, 3),
        text=answer["text"],
        segments=[_segment(number, each) for number, each in enumerate(answer["segments"])],
        id=ours.id,
        dialect=answer["dialect"],
        confidence=said["confidence"],
        provenance=ours.provenance,
    )


def _segment(number: int, segment: Mapping[str, Any]) -> TranscriptionSegment:
    content = segment["text"].encode()
    return TranscriptionSegment(
        id=number,
        seek=round(segment["start_seconds"] * FRAMES_PER_SECOND),
        start=segment["start_seconds"],
        end=segment["end_seconds"],
        text=segment["text"],
        avg_logprob=math.log(max(segment["confidence"], SMALLEST_PROBABILITY)),
        compression_ratio=round(len(content) / len(zlib.compress(content)), 3),
        confidence=segment["confidence"],
        channel=segment["channel"],
    )


def tags_of(name: str) -> set[str]:
    """The tags that a language or a dialect tag stands for: its own and those under it; none for an unknown one."""
    spoken = LANGUAGES_OF_ISO_639_1.get(name, {name})
    return {tag for tag, language in _languages().items() if language in spoken or f"{tag}-".startswith(f"{name}-")}


def _languages() -> dict[str, str]:
    """The ISO 639-3 language of every dialect tag."""
    return {entry.tag: entry.language for entry in dialects.registry().dialects}
