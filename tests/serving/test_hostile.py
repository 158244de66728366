"""Hostile input, a test per class: never a crash, never a 5xx, memory bounded, and the next caller is answered."""

from __future__ import annotations

import gzip
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from hotline import audio_files
from hotline.audio import TELEPHONE_HZ, tone
from hotline.errors import InputError

SPEECH, OPENAI, TICKETS = "/v1/tasks/transcription", "/v1/audio/transcriptions", "/v1/tasks/ticket_category"
JSON = {"Content-Type": "application/json"}
KINDS = [("WAV", "PCM_16"), ("WAV", "ULAW"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
LIMITS = audio_files.Limits(seconds=1500, bytes=45_000_000)
BOMB_HOURS = 5


def encoded(samples: Any, kind: tuple[str, str | None]) -> bytes:
    content = io.BytesIO()
    rate_hz = 48_000 if kind[1] == "OPUS" else TELEPHONE_HZ if kind[0] != "MP3" else 16_000
    soundfile.write(content, samples, rate_hz, format=kind[0], subtype=kind[1])
    return content.getvalue()


def mutated(count: int, seed: int = 7) -> Iterator[bytes]:
    """Recordings of every kind with bytes changed, cut out, doubled or moved, most of them in the header."""
    whole = [encoded(tone(0.5).samples, kind) for kind in KINDS]
    draw = np.random.default_rng(seed)
    for number in range(count):
        content = bytearray(whole[number % len(whole)])
        for _ in range(int(draw.integers(1, 12))):
            span = len(content) if draw.random() < 0.4 else min(64, len(content))
            at = int(draw.integers(0, max(1, span)))
            match int(draw.integers(0, 5)):
                case 0:
                    content[at : at + 1] = draw.bytes(1)
                case 1:
                    content[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"RIFF"])
                case 2:
                    del content[at : at + int(draw.integers(1, 200))]
                case 3:
                    content[at:at] = content[at : at + int(draw.integers(1, 200))]
                case _:
                    content = content[: max(1, at)] if draw.random() < 0.3 else content
        yield bytes(content)


def is_calm(http: httpx.Client) -> bool:
    return http.post(TICKETS, json={"text": "路灯坏了"}).status_code == 200


def serving_bytes() -> int:
    """Memory of the processes that the tests started."""
    found = 0
    for process in psutil.Process().children(recursive=True):
        try:
            found += process.memory_info().rss
        except psutil.Error:
            continue
    return found


def test_a_mutated_recording_is_sound_or_is_refused() -> None:
    outcomes = []
    for content in mutated(300):
        try:
            channels = audio_files.decode(content, "file", LIMITS)
            assert sum(len(channel.samples) for channel in channels) <= 2 * 1500 * 16_000
            outcomes.append("sound")
        except InputError:
            outcomes.append("refused")
    assert {"sound", "refused"} == set(outcomes)


def sent(http: httpx.Client, count: int) -> None:
    for number, content in enumerate(mutated(count)):
        path = OPENAI if number % 2 else SPEECH
        answer = http.post(path, files={"file": content}, data={"model": "speech"} if number % 2 else {})
        assert answer.status_code in (200, 413, 422), (number, answer.text)
    assert is_calm(http)


def test_fifty_mutated_recordings_leave_the_endpoints_calm(http: httpx.Client) -> None:
    sent(http, 50)


@pytest.mark.slow
def test_a_thousand_mutated_recordings_leave_the_endpoints_calm_and_small(http: httpx.Client) -> None:
    sent(http, 50)
    before = serving_bytes()
    sent(http, 1000)
    assert serving_bytes() < before + 300 * 2**20


@pytest.mark.parametrize(
    "kind",
    [("FLAC", "PCM_16"), *(pytest.param(each, marks=pytest.mark.slow) for each in (("OGG", "VORBIS"), ("MP3", None)))],
    ids=lambda kind: str(kind[0]),
)
def test_hours_of_silence_in_a_few_bytes_are_refused_before_they_fill_the_memory(
    http: httpx.Client, kind: tuple[str, str | None]
) -> None:
    content = io.BytesIO()
    rate_hz = 16_000 if kind[0] == "MP3" else TELEPHONE_HZ
    with soundfile.SoundFile(content, "w", rate_hz, 1, format=kind[0], subtype=kind[1]) as file:
        for _ in range(BOMB_HOURS * 3600):  # libsndfile's Vorbis encoder overflows its stack on long blocks
            file.write(np.zeros(rate_hz, np.int16))
    before = serving_bytes()
    answer = http.post(SPEECH, files={"file": content.getvalue()})
    assert answer.status_code == 413, answer.text
    assert serving_bytes() < before + 200 * 2**20
    assert is_calm(http)


def test_a_compressed_body_is_not_unpacked(http: httpx.Client) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    answer = http.post(TICKETS, content=bomb, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.status_code in (400, 415)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("call.wav", bytes(50_000_000))
    assert http.post(SPEECH, files={"file": packed.getvalue()}).status_code == 422


@pytest.mark.parametrize(
    "path", [SPEECH, OPENAI, TICKETS, f"{TICKETS}/batch", "/v1/jobs", "/v1/decisions", "/v1/embeddings"]
)
@pytest.mark.parametrize("length", ["10000000000", "9" * 30])
def test_ten_declared_gigabytes_are_refused_without_waiting_for_them(endpoint: str, path: str, length: str) -> None:
    address = urlsplit(endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=60) as wire:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        wire.sendall(head.encode() + b'{"text": "')
        status = wire.recv(4096).split(b"\r\n")[0]
    assert status.split()[1] in (b"413", b"400"), status


@pytest.mark.parametrize("path", [TICKETS, f"{TICKETS}/batch", "/v1/decisions", "/v1/embeddings"])
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 90_000,
        b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
        b'{"text": [' + b"[]," * 30_000 + b"[]]}",
        json.dumps({f"key {n}": n for n in range(6_000)}).encode(),
        b'{"text": "' + b"\\u0000" * 15_000 + b'"}',
        b'{"text": ' + b"1" * 90_000 + b"}",
        b'{"text": 1e' + b"9" * 90_000 + b"}",
    ],
    ids=["deep list", "deep object", "wide list", "wide object", "nulls", "long number", "long exponent"],
)
def test_deep_and_wide_json_is_refused(http: httpx.Client, path: str, content: bytes) -> None:
    answer = http.post(path, content=content, headers=JSON)
    if content.startswith(b'{"text": "') and path == TICKETS:
        assert answer.status_code in (200, 422)
    else:
        assert answer.status_code in (400, 413, 422)
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "gb18030", "big5", "utf-7"])
def test_json_in_another_encoding_is_refused(http: httpx.Client, encoding: str) -> None:
    content = '{"text": "路燈"}'.encode(encoding)
    answer = http.post(TICKETS, content=content, headers=JSON)
    assert answer.status_code in ((400,) if encoding != "utf-7" else (200, 400, 422))


def test_fields_of_a_form_in_another_encoding_are_refused(http: httpx.Client) -> None:
    for value in ("路灯".encode("gb18030"), b"\xff\xfe\x00"):
        body = (
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + value + b"\r\n--x\r\n"
            b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            + encoded(tone(0.3).samples, KINDS[0])
            + b"\r\n--x--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert http.post(OPENAI, content=body, headers=headers).status_code in (400, 404, 422)


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "/etc/passwd", "..\\..\\policy\\site.yaml", "a\x00.wav", "x" * 5_000, "$(id).wav"],
)
def test_the_name_of_a_file_leads_nowhere(http: httpx.Client, name: str) -> None:
    for content in (encoded(tone(0.3).samples, KINDS[0]), b"no sound"):
        answer = http.post(SPEECH, files={"file": (name, content)})
        assert answer.status_code in (200, 400, 422)
        assert "passwd" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/v1/tasks/..%2f..%2fetc%2fpasswd", "/v1/tasks/%2e%2e", "/docs/static/%2e%2e/%2e%2e/app.py", "/v1/tasks/a%00b"],
)
def test_an_address_leads_nowhere_else(http: httpx.Client, path: str) -> None:
    for method in ("GET", "POST"):
        assert http.request(method, path, headers=JSON).status_code in (404, 405)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nSet-Cookie: x=1", "路灯\r\n\r\n<html>"])
def test_nothing_that_a_caller_says_becomes_a_header(http: httpx.Client, value: str) -> None:
    clip = encoded(tone(0.3).samples, KINDS[0])
    for fields in ({"model": value}, {"model": "speech", "language": value}, {"model": "speech", "prompt": value}):
        answer = http.post(OPENAI, files={"file": clip}, data=fields)
        assert answer.status_code < 500
        assert not {"x-evil", "set-cookie"} & set(answer.headers)
    answer = http.post("/v1/tasks/" + value.replace("\r", "%0d").replace("\n", "%0a"), json={})
    assert answer.status_code == 404
    assert not {"x-evil", "set-cookie"} & set(answer.headers)


def test_a_raw_header_with_a_line_break_ends_at_the_door(endpoint: str) -> None:
    address = urlsplit(endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=60) as wire:
        wire.sendall(
            b"POST /v1/tasks/ticket_category HTTP/1.1\r\nHost: h\r\n"
            b"X-Call-Id: a\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n"
        )
        said = wire.recv(65536).lower()
    assert b" 5" not in said.split(b"\r\n")[0][:12]
    assert b"x-evil" not in said.split(b"\r\n\r\n")[0]
