"""Every format and field of transcriptions, live, as OpenAI's own client asks for them and as libraries read them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
import srt
import webvtt

from data.voices import Voice, speech
from hotline.audio import TELEPHONE_HZ, Audio
from hotline.wishes import is_word, units

PATH = "/v1/audio/transcriptions"


def wav(*channels: Any) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.stack(channels, axis=1), TELEPHONE_HZ, format="WAV", subtype="PCM_16")
    return content.getvalue()


@pytest.fixture(scope="module")
def sound() -> Any:
    library = speech()
    said = Audio(library.say("门口的路灯坏了。请尽快派人维修。", Voice("cmn")), library.sample_rate_hz)
    return said.at(TELEPHONE_HZ).samples


@pytest.fixture(scope="module")
def clip(sound: Any) -> bytes:
    return wav(sound)


@pytest.fixture(scope="module")
def call(sound: Any) -> bytes:
    """Two channels that speak in turn, over half a minute."""
    turn, pause = np.concatenate([sound, 0 * sound]), np.zeros(TELEPHONE_HZ, np.int16)
    once = np.concatenate([turn, pause])
    other = np.concatenate([pause, np.roll(turn, len(sound))])
    return wav(np.tile(once, 4), np.tile(other, 4))


@pytest.fixture
def client(endpoint: str) -> Iterator[openai.OpenAI]:
    with httpx.Client(trust_env=False, timeout=300) as http:
        yield openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)


@pytest.fixture
def ask(client: openai.OpenAI) -> Any:
    def create(content: bytes, **fields: Any) -> Any:
        given: Any = {"model": "speech", **fields}
        return client.audio.transcriptions.create(file=("call.wav", content), **given)

    return create


def test_every_word_of_the_text_lies_in_the_sound_after_the_one_before(ask: Any, clip: bytes, sound: Any) -> None:
    heard = ask(clip, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert [word.word for word in heard.words] == [unit for unit in units(heard.text) if is_word(unit)]
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= len(sound) / TELEPHONE_HZ + 0.001
    assert heard.segments[0].start == heard.words[0].start
    assert heard.segments[-1].end == heard.words[-1].end


def test_words_alone_come_without_segments(ask: Any, clip: bytes) -> None:
    heard = ask(clip, response_format="verbose_json", timestamp_granularities=["word"])
    assert heard.words
    assert heard.segments is None


def test_subrip_is_read_by_a_library(ask: Any, call: bytes) -> None:
    cues, plain = list(srt.parse(ask(call, response_format="srt"), ignore_errors=False)), ask(call)
    assert "".join(cue.content for cue in cues).replace(" ", "") == "".join(plain.text.split())
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    assert all(cue.start < cue.end for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)


def test_webvtt_is_read_by_a_library_and_names_who_speaks(ask: Any, call: bytes) -> None:
    text, cues = ask(call, response_format="vtt"), list(srt.parse(ask(call, response_format="srt")))
    captions = list(webvtt.from_string(text))
    assert [caption.text for caption in captions] == [cue.content for cue in cues]
    assert {caption.voice for caption in captions} == {"A", "B"}


def test_the_speakers_of_a_call_are_its_channels(ask: Any, call: bytes) -> None:
    heard = ask(call, response_format="diarized_json")
    assert {segment.speaker for segment in heard.segments} == {"A", "B"}
    assert "".join(segment.text for segment in heard.segments).replace(" ", "") == "".join(heard.text.split())
    assert heard.duration == pytest.approx(heard.usage.seconds, abs=0.001)


def test_a_stream_adds_up_to_the_text(ask: Any, call: bytes) -> None:
    events = list(ask(call, stream=True, include=["logprobs"]))
    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    assert len(events) > 3
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == ask(call).text
    assert sum(len(event.logprobs) for event in events[:-1]) == len(events[-1].logprobs)


def test_a_diarized_stream_has_a_segment_an_event(ask: Any, call: bytes) -> None:
    *segments, done = list(ask(call, stream=True, response_format="diarized_json"))
    whole = ask(call, response_format="diarized_json")
    shown = [(each.speaker, each.start, each.text) for each in segments]
    assert sorted(shown) == sorted((each.speaker, each.start, each.text) for each in whole.segments)
    assert done.text == whole.text


def test_log_probabilities_are_of_the_text_that_is_given(ask: Any, clip: bytes) -> None:
    heard = ask(clip, include=["logprobs"])
    assert "".join(each.token for each in heard.logprobs).split() == heard.text.split()
    assert all(each.logprob <= 0 and bytes(map(int, each.bytes)).decode() == each.token for each in heard.logprobs)
    assert ask(clip).logprobs is None


def test_keywords_are_taken_and_those_that_cannot_be_written_are_counted(ask: Any, clip: bytes) -> None:
    assert ask(clip, extra_body={"keywords": ["路灯", "street"]}).text
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        ask(clip, extra_body={"keywords": ["路灯", "路鎏"]})
    body: Any = caught.value.body
    assert (body["where"], body["details"][0]["found"]) == ("body.keywords[].1", "text of 2 characters")


def test_several_languages_may_be_given_and_each_must_be_one_that_is_heard(ask: Any, clip: bytes) -> None:
    assert ask(clip, extra_body={"languages": ["zh", "en"]}).text
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        ask(clip, extra_body={"languages": ["zh", "wuu"]})
    body: Any = caught.value.body
    assert body["where"] == "body.languages[].1"


def test_an_error_within_a_stream_is_told_as_an_event(http: httpx.Client, clip: bytes) -> None:
    fields = {"model": "speech", "stream": "true"}
    with http.stream("POST", PATH, files={"file": clip}, data=fields) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-model"] == "speech"
        assert "transcript.text.done" in answer.read().decode()
    fields["model"] = "whisper-1"
    assert http.post(PATH, files={"file": clip}, data=fields).status_code == 404
