"""The page at / as a person at a hotline meets it, in a real browser."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from hotline.audio import Audio, tone
from serving.pages import FRONT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def wav(sound: Audio) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, sound.samples, sound.sample_rate_hz, format="WAV")
    return written.getvalue()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *MICROPHONE])
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, endpoint: str) -> Iterator[Any]:
    """The page in Chinese; an error of a script, or a word to another host, fails the test."""
    context = browser.new_context(locale="zh-CN")
    opened, wrong = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on(
        "request", lambda asked: None if asked.url.startswith((endpoint, "blob:", "data:")) else wrong.append(asked.url)
    )
    opened.goto(endpoint)
    opened.wait_for_selector("details.card")
    yield opened
    context.close()
    assert wrong == []


def asked(page: Any, task: str) -> Any:
    """The box of a task, open."""
    box = page.locator(f"#try-{task}")
    if box.get_attribute("open") is None:
        box.locator("summary").first.click()
    return box


def test_a_ticket_is_tried_with_the_keyboard_alone(page: Any) -> None:
    text = asked(page, "ticket_category").locator("textarea")
    text.fill("路灯坏了三天")
    text.press("Control+Enter")
    answer = page.locator("#try-ticket_category .answer")
    answer.wait_for()
    assert "tickets@" in answer.inner_text()
    assert "ticket_category." in answer.locator("code").inner_text()  # the request id


def test_a_recording_is_tried_from_a_file_and_from_the_microphone(page: Any) -> None:
    box = asked(page, "transcription")
    box.locator("button.main").click()
    assert "请先选择" in box.locator(".problem").inner_text()
    box.locator("input[type=file]").set_input_files(
        {"name": "call.wav", "mimeType": "audio/wav", "buffer": wav(tone())}
    )
    box.locator("button.main").click()
    box.locator(".answer").wait_for()
    spoken = asked(page, "dialect_identification")
    spoken.get_by_role("button", name="用麦克风录音").click()
    page.wait_for_timeout(700)
    spoken.get_by_role("button", name="停止录音").click()
    spoken.get_by_text(re.compile("已录音")).wait_for()
    spoken.locator("button.main").click()
    spoken.locator(".answer .bars").wait_for()


def test_the_page_says_what_is_served_and_how_busy_it_is(page: Any, http: httpx.Client) -> None:
    before = http.get("/v1/load").json()["tasks"].get("ticket_category", {"answered": 0})["answered"]
    http.post("/v1/tasks/ticket_category", json={"text": "井盖丢了"})
    busy = http.get("/v1/load").json()["tasks"]["ticket_category"]
    assert (busy["answered"], busy["ongoing"]) == (before + 1, 0)
    assert busy["median_seconds"] > 0
    row = page.locator("#versions tr", has_text="ticket_category")
    assert "tickets@" in row.inner_text()
    assert "通过" in row.inner_text()
    page.get_by_role("button", name="English").click()
    page.get_by_role("heading", name="What is served").wait_for()
    row.get_by_text(re.compile("passed")).wait_for()


def test_a_mistake_of_the_caller_is_no_failure_of_the_endpoint(http: httpx.Client) -> None:
    http.post("/v1/tasks/transcription", files={"file": ("a.wav", wav(tone()), "audio/wav")})
    before = http.get("/v1/load").json()["tasks"]["transcription"]
    http.post("/v1/tasks/transcription", files={"file": ("a.wav", io.BytesIO(b"no sound"), "audio/wav")})
    two_speakers = {"model": "speech", "response_format": "diarized_json"}
    http.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav(tone()), "audio/wav")}, data=two_speakers)
    after = http.get("/v1/load").json()["tasks"]["transcription"]
    assert (after["failed"], after["answered"]) == (before["failed"], before["answered"])


def test_the_page_needs_no_other_host(http: httpx.Client) -> None:
    assert "default-src 'self'" in http.get("/").headers["content-security-policy"]
    for path in FRONT.iterdir():
        assert http.get(f"/page/{path.name}").status_code == 200
        assert not re.search(r"https?://", Path(path).read_text(encoding="utf-8"))
