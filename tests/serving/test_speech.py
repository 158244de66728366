"""Recordings over HTTP, live: OpenAI's own client, and forms as curl sends them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from typer.testing import CliRunner

from data.voices import Voice, speech
from hotline import audio_files, families
from hotline.audio import TELEPHONE_HZ, Audio, tone
from hotline.families import transcriber
from hotline.tasks import find
from hotline.voice_activity import stretches
from pipelines.cli import app
from serving.client import transcribe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serving.conftest import Site

TASK, DIALECTS = find("transcription"), find("dialect_identification")
PATHS = {task.name: f"/v1/tasks/{task.name}" for task in (TASK, DIALECTS)}
OPENAI_PATH = "/v1/audio/transcriptions"


def wav(*channels: Audio, subtype: str = "ULAW") -> bytes:
    content = io.BytesIO()
    samples_TC = np.stack([channel.samples for channel in channels], axis=1)
    soundfile.write(content, samples_TC, channels[0].sample_rate_hz, format="WAV", subtype=subtype)
    return content.getvalue()


def spoken(text: str, language: str = "cmn") -> Audio:
    library = speech()
    return Audio(library.say(text, Voice(language)), library.sample_rate_hz).at(TELEPHONE_HZ)


@pytest.fixture(scope="module")
def clips() -> list[Audio]:
    said = (("门口的路灯坏了。", "cmn"), ("唔該我想查詢垃圾費。", "yue"), ("The street lamp is broken.", "gmw/en"))
    return [audio_files.decode(wav(spoken(*each)))[0] for each in said]


@pytest.fixture(scope="module")
def clip(clips: list[Audio]) -> bytes:
    return wav(clips[0])


@pytest.fixture
def client(endpoint: str) -> Iterator[openai.OpenAI]:
    with httpx.Client(trust_env=False, timeout=300) as http:
        yield openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)


@pytest.fixture(scope="module")
def judged(live_site: Site) -> Any:
    """The champion of transcription, as the gate would load it."""
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    return transcriber.load(live_site.settings.verified / champion.record.model.digest, TASK)


def answered(model: Any, audio: Audio) -> Any:
    [answer] = families.answer(transcriber, model, [TASK.input.model_validate({"audio": audio})])  # type: ignore[arg-type]
    return answer


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert response.headers.get_list("x-request-id") == [error["request_id"]]
    assert "Traceback" not in response.text
    return error


def test_openais_client_gets_the_text_and_headers_say_who_answered(
    client: openai.OpenAI, clip: bytes, clips: list[Audio], judged: Any, live_site: Site
) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(file=("call.wav", clip), model="speech")
    assert raw.parse().text == answered(judged, clips[0]).target.text
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    assert raw.headers["x-model"] == "speech"
    assert raw.headers["x-model-digest"] == champion.record.model.digest
    assert raw.headers["x-verdict"] == champion.record.verdict
    assert raw.headers["x-request-id"].startswith("transcription.")


def test_openais_client_gets_plain_text(client: openai.OpenAI, clip: bytes, clips: list[Audio], judged: Any) -> None:
    raw = client.audio.transcriptions.with_raw_response.create(
        file=("call.wav", clip), model="transcription", response_format="text"
    )
    assert raw.headers["content-type"].startswith("text/plain")
    assert raw.headers["x-model-version"] == "1"
    assert raw.text == answered(judged, clips[0]).target.text + "\n"


def test_openais_client_gets_segments_the_dialect_and_the_provenance(
    client: openai.OpenAI, clip: bytes, clips: list[Audio], judged: Any
) -> None:
    heard = client.audio.transcriptions.create(
        file=("call.wav", clip),
        model="speech@1",
        response_format="verbose_json",
        timestamp_granularities=["segment"],
        temperature=0,
        language="zh",
    )
    judged_answer = answered(judged, clips[0])
    assert heard.text == judged_answer.target.text
    assert heard.duration == pytest.approx(clips[0].seconds, abs=0.001)
    assert heard.segments
    assert heard.segments[0].start >= 0
    assert heard.segments[-1].end <= clips[0].seconds + 0.001
    assert "".join(segment.text for segment in heard.segments).replace(" ", "") == heard.text.replace(" ", "")
    extension = heard.model_extra or {}
    assert extension["dialect"] == judged_answer.target.dialect
    assert extension["confidence"] == pytest.approx(judged_answer.confidence, abs=1e-5)
    assert extension["provenance"]["model"] == "speech"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("response_format", "docx", "'json', 'text', 'srt', 'verbose_json', 'vtt' or 'diarized_json'"),
        ("language", "tlh", "cmn"),
        ("language", "wuu", "what this version can hear: cmn, en, yue-hongkong"),
        ("temperature", 0.7, "less than or equal to 0"),
        ("prompt", "鎏", "characters that this version can write"),
        ("include", ["words"], "'logprobs'"),
        ("known_speaker_names", ["agent"], "only declared fields"),
        ("chunking_strategy", {"type": "server_vad"}, "only declared fields"),
        ("timestamp_granularities", ["sentence"], "'word' or 'segment'"),
        ("timestamp_granularities", ["segment"], "verbose_json"),
        ("response_format", "diarized_json", "two channels"),
    ],
)
def test_what_a_version_cannot_do_is_refused_to_openais_client_by_name(
    client: openai.OpenAI, clip: bytes, field: str, value: Any, expected: str
) -> None:
    call: Any = client.audio.transcriptions.create
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        call(file=("call.wav", clip), model="speech", **{field: value})
    body: Any = caught.value.body
    assert body["code"] == caught.value.code == "invalid_input"
    assert expected in body["details"][0]["expected"]
    assert field in body["where"] or body["where"] == "body"


def test_openais_client_is_told_which_models_answer(client: openai.OpenAI, clip: bytes) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(file=("call.wav", clip), model="whisper-1")
    body: Any = caught.value.body
    assert body["expected"] == "one of speech, speech@1, transcription"


def test_the_language_header_says_whether_it_was_heard(
    http: httpx.Client, clip: bytes, clips: list[Audio], judged: Any
) -> None:
    heard = answered(judged, clips[0]).target.dialect
    for language in ("cmn", "yue", "en", "zh", heard):
        answer = http.post(OPENAI_PATH, files={"file": clip}, data={"model": "speech", "language": language})
        assert answer.headers["x-dialect"] == heard
        expected = heard.startswith(language) or (language == "zh" and heard in ("cmn", "yue-hongkong"))
        assert answer.headers["x-language-heard"] == ("yes" if expected else "no")


def test_the_task_answers_a_form_as_the_gate_judged_it(
    http: httpx.Client, clip: bytes, clips: list[Audio], judged: Any
) -> None:
    response = http.post(PATHS[TASK.name], files={"file": ("call.wav", clip)}, headers={"X-Call-Id": "call-17"})
    body, expected = response.json(), answered(judged, clips[0])
    assert response.status_code == 200, response.text
    assert body["answer"]["text"] == expected.target.text
    assert body["answer"]["dialect"] == expected.target.dialect
    assert body["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    assert body["provenance"]["model"] == "speech"
    assert response.headers["x-call-id"] == "call-17"
    assert response.headers["x-request-id"] == body["id"]


def test_the_dialect_comes_with_the_probabilities_of_the_others(http: httpx.Client, clip: bytes) -> None:
    body = http.post(PATHS[DIALECTS.name], files={"file": clip}).json()
    shares = {each["answer"]["label"]: each["confidence"] for each in body["alternatives"]}
    shares[body["answer"]["label"]] = body["confidence"]
    assert shares.keys() == {"cmn", "yue-hongkong", "en"}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert body["confidence"] == max(shares.values())


@pytest.mark.parametrize("path", [*PATHS.values(), OPENAI_PATH])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"this is a letter about a street lamp" * 20, "not an audio file"),
        (wav(tone())[:300], "truncated"),
        (wav(tone(), tone(), tone()), "too many channels"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "not an audio file"),
    ],
    ids=["empty", "text", "truncated", "three channels", "picture"],
)
def test_what_is_no_recording_is_refused_without_repeating_its_name(
    http: httpx.Client, path: str, content: bytes, message: str
) -> None:
    fields = {"model": "speech"} if path == OPENAI_PATH else {}
    response = http.post(path, files={"file": ("13800138000.wav", content)}, data=fields)
    assert message in refused(response, 422)["message"]
    assert "13800138000" not in response.text


def test_a_recording_over_the_sites_seconds_is_refused(http: httpx.Client) -> None:
    content = wav(Audio(np.zeros(1501 * TELEPHONE_HZ, np.int16), TELEPHONE_HZ))
    error = refused(http.post(PATHS[TASK.name], files={"file": content}), 413)
    assert (error["found"], error["expected"]) == ("1,501 s", "at most 1,500 s")


@pytest.mark.parametrize("path", [PATHS[TASK.name], OPENAI_PATH])
def test_a_body_over_the_sites_bytes_is_refused(http: httpx.Client, path: str) -> None:
    error = refused(http.post(path, files={"file": bytes(45_000_001)}), 413)
    assert "limits.audio_bytes" in error["expected"]


@pytest.mark.parametrize("path", [*PATHS.values(), OPENAI_PATH])
def test_a_form_without_a_file_or_with_more_than_the_declared_fields_is_refused(
    http: httpx.Client, clip: bytes, path: str
) -> None:
    no_file = http.post(path, files={"speed": (None, "2")})
    assert refused(no_file, 422)["where"] == "body.file"
    text_for_file = http.post(path, files={"file": (None, "call.wav")})
    assert "file name" in refused(text_for_file, 422)["expected"]
    two = http.post(path, files=[("file", ("a.wav", clip)), ("file", ("b.wav", clip))])
    assert refused(two, 422)["expected"] == "one file"
    other_file = http.post(path, files={"file": clip, "second": clip})
    assert refused(other_file, 422)["where"] == "body.second"
    unknown = http.post(path, files={"file": clip}, data={"model": "speech", "speed": "2"})
    assert "body.speed" in {each["where"] for each in refused(unknown, 422)["details"]}


@pytest.mark.parametrize("path", [*PATHS.values(), OPENAI_PATH])
def test_a_body_that_is_no_form_is_refused(http: httpx.Client, path: str) -> None:
    assert refused(http.post(path, json={"audio": "call.wav"}), 415)["expected"] == "multipart/form-data"
    headers = {"Content-Type": "multipart/form-data"}
    assert refused(http.post(path, content=b"no boundary", headers=headers), 400)["code"] == "broken_form"


@pytest.fixture(scope="module")
def twenty_minutes(clips: list[Audio]) -> Audio:
    pause = np.zeros(int(0.7 * TELEPHONE_HZ), np.int16)
    turn = np.concatenate([part for clip in clips for part in (clip.samples, pause)])
    return Audio(np.resize(turn, 20 * 60 * TELEPHONE_HZ), TELEPHONE_HZ)


def test_twenty_minutes_come_back_as_segments_whose_texts_are_those_of_the_stretches(
    http: httpx.Client, twenty_minutes: Audio, judged: Any
) -> None:
    whole, content = twenty_minutes, wav(twenty_minutes, subtype="PCM_16")
    response = http.post(PATHS[TASK.name], files={"file": ("calls.wav", content)}, timeout=300)
    assert response.status_code == 200, response.text
    answer = response.json()["answer"]
    ranges = stretches(whole)
    assert len(ranges) > 300
    heard = [answered(judged, whole.cut(*each)).target.text for each in ranges[:20]]
    segments = [each for each in answer["segments"] if each["start_seconds"] < ranges[20][0] / TELEPHONE_HZ]
    assert "".join(each["text"] for each in segments).replace(" ", "") == "".join(heard).replace(" ", "")
    assert answer["text"].replace(" ", "") == "".join(each["text"] for each in answer["segments"]).replace(" ", "")
    starts = [each["start_seconds"] for each in answer["segments"]]
    assert starts == sorted(starts)
    assert all(0 <= each["start_seconds"] <= each["end_seconds"] <= 1200 for each in answer["segments"])


def test_two_channels_are_heard_apart_and_merged_by_time(http: httpx.Client, clips: list[Audio], judged: Any) -> None:
    first, second = clips[0].samples, clips[1].samples
    agent, caller = np.concatenate([first, 0 * second]), np.concatenate([0 * first, second])
    left, right = audio_files.decode(wav(Audio(agent, TELEPHONE_HZ), Audio(caller, TELEPHONE_HZ)))
    body = http.post(PATHS[TASK.name], files={"file": wav(left, right)}).json()
    texts = [answered(judged, channel).target.text for channel in (left, right)]
    for number, text in enumerate(texts):
        mine = [each["text"] for each in body["answer"]["segments"] if each["channel"] == number]
        assert "".join(mine).replace(" ", "") == text.replace(" ", "")


def test_one_recording_stored_on_two_channels_is_heard_once(http: httpx.Client, clips: list[Audio]) -> None:
    once, twice = (http.post(PATHS[TASK.name], files={"file": wav(*[clips[0]] * n)}).json() for n in (1, 2))
    assert once["answer"] == twice["answer"]


def test_silence_of_a_minute_has_no_text(http: httpx.Client) -> None:
    silence = wav(Audio(np.zeros(60 * TELEPHONE_HZ, np.int16), TELEPHONE_HZ))
    answer = http.post(PATHS[TASK.name], files={"file": silence}).json()["answer"]
    assert (answer["text"], answer["dialect"], answer["segments"]) == ("", "unknown", [])


def test_files_are_transcribed_in_order_and_one_that_is_no_recording_keeps_its_place(
    endpoint: str, clips: list[Audio], tmp_path: Path
) -> None:
    files = [tmp_path / f"{n}.wav" for n in range(4)]
    for file, content in zip(files, [*map(wav, clips), b"no sound"], strict=True):
        file.write_bytes(content)
    heard = list(transcribe(endpoint, files))
    assert ["error" in each for each in heard] == [False, False, False, True]
    assert heard[0]["answer"]["segments"][-1]["end_seconds"] <= clips[0].seconds + 0.001


def test_the_command_prints_what_was_said_and_fails_for_what_is_no_recording(
    endpoint: str, clip: bytes, tmp_path: Path
) -> None:
    good, bad = tmp_path / "call.wav", tmp_path / "letter.wav"
    good.write_bytes(clip)
    bad.write_text("a letter", encoding="utf-8")
    run = CliRunner().invoke(app, ["transcribe", str(good), "--url", endpoint])
    assert run.exit_code == 0, run.output
    assert f"{good}  " in run.stdout and "00:0" in run.stdout
    both = CliRunner().invoke(app, ["transcribe", str(good), str(bad), "--url", endpoint, "--json"])
    assert both.exit_code == 2
    heard = json.loads(both.stdout)["files"]
    assert [each["file"] for each in heard] == [str(good), str(bad)]
    assert "not an audio file" in heard[1]["error"]["message"]


def test_the_openapi_document_shows_the_forms(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    for path in (*PATHS.values(), OPENAI_PATH):
        form = paths[path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["properties"]["file"]["format"] == "binary"
        assert form["additionalProperties"] is False
        assert "file" in form["required"]
    assert form["properties"]["response_format"]["enum"] == [
        "json",
        "text",
        "srt",
        "verbose_json",
        "vtt",
        "diarized_json",
    ]
    assert "text/plain" in paths[OPENAI_PATH]["post"]["responses"]["200"]["content"]


@pytest.mark.slow
def test_a_long_recording_keeps_the_version_that_it_began_with(
    live_site: Site, http: httpx.Client, twenty_minutes: Audio
) -> None:
    """The last test of this file: it leaves another champion."""
    content, promoted = wav(twenty_minutes), live_site.speech(2)
    live_site.promote(promoted, live_site.judge(promoted, task=TASK).hash, TASK)
    versions = []
    give_up = time.monotonic() + 300
    while versions[-2:] != ["2", "2"]:
        response = http.post(PATHS[TASK.name], files={"file": content}, timeout=300)
        assert response.status_code == 200, response.text
        versions.append(response.json()["provenance"]["version"])
        assert time.monotonic() < give_up
    assert versions == sorted(versions)
    assert versions[0] == "1"
    assert http.get("/readyz").status_code == 200
