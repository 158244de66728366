"""`POST /v1/audio/transcriptions`, as OpenAI's clients call it: what a version cannot do is refused, never ignored.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response

from hotline.errors import UnknownName
from hotline.tasks.speech.transcription import TRANSCRIPTION
from hotline.wishes import Wish
from serving import events, forms, subtitles, transcription_bodies, transcription_form
from serving.bodies import Body
from serving.calls import ERRORS, EVENT, EVENTS, Call, CallId, answering
from serving.recordings import Recording, Recordings
from serving.stitching import Joined, Piece, stitch
from serving.strict import MAX_NAME_CHARACTERS
from serving.switchboard import Switchboard
from serving.timed_text import TimedSegment, timed
from serving.transcription_bodies import DiarizedTranscription, Transcription, VerboseTranscription
from serving.transcription_form import TranscriptionForm, tags_of

PATH = "/v1/audio/transcriptions"
SUBTITLES = {"srt": (subtitles.srt, "application/x-subrip"), "vtt": (subtitles.vtt, "text/vtt")}


def add(app: FastAPI, switchboard: Switchboard, recordings: Recordings) -> None:
    """Add the route."""

    async def call(request: Request, x_call_id: CallId = None) -> Response:
        form = await forms.read(request, lists=transcription_form.LISTS)
        asked = transcription_form.parse(form.fields)
        async with AsyncExitStack() as stack:
            ours = stack.enter_context(answering(request, switchboard, TRANSCRIPTION))
            check_model(asked.model, ours)
            able = await switchboard.abilities(ours.route)
            transcription_form.check(asked, able)
            recording = await stack.enter_async_context(recordings.opened(form.content))
            _check_channels(asked, recording)
            heard = Hearing(recordings, recording, asked, asked.wish(able), ours)
            stack.push_async_callback(heard.close)
            headers = ours.headers(x_call_id)
            if asked.stream:
                return events.Stream(heard.events(), stack.pop_all(), headers)
            return await heard.response(headers)

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=Transcription | VerboseTranscription | DiarizedTranscription,
        responses={**ERRORS, 200: {"content": _TEXTS}},
        summary="A recording's text, as OpenAI's clients ask for it",
        operation_id="audio_transcriptions",
        tags=["OpenAI-compatible"],
        openapi_extra=forms.described(TranscriptionForm.model_json_schema()),
    )


_TEXT = {"schema": {"type": "string"}}
_TEXTS = {"text/plain": _TEXT, **{kind: _TEXT for _, kind in SUBTITLES.values()}, EVENTS: EVENT}


def check_model(name: str, ours: Call) -> None:
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


def _check_channels(asked: TranscriptionForm, recording: Recording) -> None:
    if asked.response_format == "diarized_json" and len(recording.channels) < 2:
        forms.refuse(
            "value_error",
            "response_format",
            asked.response_format,
            "a recording of two channels that differ: who speaks is told by the channel",
        )


class Hearing:
    """One recording, on its way to an answer."""

    def __init__(
        self, recordings: Recordings, recording: Recording, asked: TranscriptionForm, wish: Wish, ours: Call
    ) -> None:
        self._recordings, self._recording, self._asked, self._ours = recordings, recording, asked, ours
        self._pieces = recordings.pieces(TRANSCRIPTION, ours.route, recording, wish=wish)

    async def close(self) -> None:
        """Give up what is not heard yet."""
        await self._pieces.aclose()

    async def response(self, headers: Mapping[str, str]) -> Response:
        """The whole answer at once."""
        pieces = [piece async for piece in self._pieces]
        said = await self._recordings.in_writing(partial(stitch, TRANSCRIPTION, pieces))
        shown = {**headers, "X-Dialect": said["answer"]["dialect"], "X-Confidence": f"{said['confidence']:.4f}"}
        if wanted := self._asked.wanted_languages:
            heard = any(said["answer"]["dialect"] in tags_of(language) for language in wanted)
            shown["X-Language-Heard"] = "yes" if heard else "no"
        if self._asked.response_format == "text":
            return Response(said["answer"]["text"] + "\n", headers=shown, media_type="text/plain")
        segments = await self._segments(pieces) if self._asked.shows_times else []
        if written := SUBTITLES.get(self._asked.response_format):
            return Response(written[0](segments), headers=shown, media_type=written[1])
        body = self._body(said, pieces, segments).model_dump_json(exclude_none=True)
        return Response(body, headers=shown, media_type="application/json")

    async def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """What each stretch adds, as soon as it and those before it are heard; then all of it."""
        diarized, numbers = self._asked.response_format == "diarized_json", 0
        pieces: list[Piece] = []
        joined = Joined(str)
        async for piece in self._pieces:
            pieces.append(piece)
            one = await self._recordings.in_writing(partial(stitch, TRANSCRIPTION, [piece]))
            joined_piece = Piece(piece.channel, piece.start_seconds, piece.end_seconds, one)
            delta = {"type": "transcript.text.delta", "delta": joined.add(joined_piece), **self._probabilities([piece])}
            if delta["delta"] and not diarized:
                yield delta
            for segment in await self._segments([piece]) if diarized else []:
                yield transcription_bodies.diarized_segment(numbers, segment).model_dump()
                numbers += 1
        said = await self._recordings.in_writing(partial(stitch, TRANSCRIPTION, pieces))
        yield {
            "type": "transcript.text.done",
            "text": said["answer"]["text"],
            **self._probabilities(pieces),
            "id": self._ours.id,
            "dialect": said["answer"]["dialect"],
            "confidence": said["confidence"],
            "provenance": self._ours.provenance.model_dump(),
        }

    def _body(self, said: Mapping[str, Any], pieces: Sequence[Piece], segments: Sequence[TimedSegment]) -> Body:
        seconds = self._recording.seconds
        if self._asked.response_format == "diarized_json":
            return transcription_bodies.diarized(said, seconds, segments, self._ours)
        if self._asked.response_format == "verbose_json":
            wanted = self._asked.timestamp_granularities
            return transcription_bodies.verbose(said, seconds, segments, wanted, self._ours)
        return Transcription.model_validate(
            {
                "text": said["answer"]["text"],
                "usage": transcription_bodies.usage(seconds),
                **self._probabilities(pieces),
            }
        )

    def _probabilities(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        if not self._asked.include:
            return {}
        tokens = [token for piece in pieces for token in piece.said["tokens"]]
        return {"logprobs": [each.model_dump() for each in transcription_bodies.probabilities(tokens)]}

    async def _segments(self, pieces: Sequence[Piece]) -> list[TimedSegment]:
        return await self._recordings.in_writing(partial(timed, pieces))
