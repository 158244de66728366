"""Other people's models on our test rows, over HTTP: a real server on this machine answers here."""

from __future__ import annotations

import socket
import threading
import time
import wave
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
import yaml
from fastapi import FastAPI, File, Form, HTTPException, Request, UploadFile

from data.store import open_snapshot
from evaluation import endpoints
from evaluation.compare import compare
from evaluation.endpoints import Endpoint
from hotline.audio import tone
from hotline.errors import InputError, PolicyError, RefusedError, UnavailableError, UnknownName
from hotline.labels import LabelTree
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines.commands.candidates import candidates
from pipelines.commands.models import resolve

TICKETS, SUMMARY, ANSWERS = find("ticket_category"), find("ticket_summary"), find("article_answer")
SPEECH, DIALECTS = find("transcription"), find("dialect_identification")
TREE = LabelTree.of(["城建/路灯", "环保/噪音"])
KEY = "a key of the test's own"


@dataclass
class Server:
    """A small OpenAI-compatible server, and a hotline's task route; what it does is set by the test."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    """How many times every text is refused as too many requests before it is answered."""
    say: Any = None
    tells_tokens: bool = True

    def reset(self) -> None:
        self.asked, self.seen, self.busy, self.tells_tokens = [], Counter(), 0, True
        self.say = lambda text: "城建/路灯"


def build(server: Server) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    def chat(request: Request, body: dict[str, Any]) -> dict[str, Any]:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise HTTPException(401, "no such key")
        server.asked.append(body)
        text = body["messages"][-1]["content"]
        server.seen[text] += 1
        if server.seen[text] <= server.busy:
            raise HTTPException(429, "slow down", {"Retry-After": "0"})
        said = server.say(text)
        if said is None:
            raise HTTPException(400, "this text is not liked here")
        usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 10}} if server.tells_tokens else {}
        return {"model": "made-up-7b", "choices": [{"message": {"role": "assistant", "content": said}}], **usage}

    @app.post("/v1/audio/transcriptions")
    def transcribe(file: UploadFile = File(), model: str = Form()) -> dict[str, str]:
        with wave.open(file.file, "rb") as sound:
            return {"text": f"{model} 听了 {sound.getnframes() / sound.getframerate():g} 秒"}

    @app.post("/v1/tasks/ticket_category")
    def task(body: dict[str, str]) -> dict[str, Any]:
        origin = {"model": "tickets", "version": "7"}
        other = [{"answer": {"label": "环保/噪音"}, "confidence": 0.1}]
        said = {"label": "城建/路灯"}
        return {"id": "1", "answer": said, "confidence": 0.9, "alternatives": other, "provenance": origin}

    return app


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}")
    live = uvicorn.Server(uvicorn.Config(build(server), port=port, log_level="error"))
    thread = threading.Thread(target=live.run)
    thread.start()
    while not live.started:
        time.sleep(0.01)
    yield server
    live.should_exit = True
    thread.join()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    running.reset()
    monkeypatch.setenv("TEST_KEY", KEY)
    return running


def openai(server: Server, **more: Any) -> Endpoint:
    return Endpoint(name="made-up", url=f"{server.url}/v1", kind="openai", model="made-up", key_env="TEST_KEY", **more)


def tickets(count: int) -> tuple[list[Any], list[str]]:
    return [TICKETS.input.model_validate({"text": f"路灯坏了 {n}"}) for n in range(count)], [
        f"row-{n}" for n in range(count)
    ]


def test_a_classifier_by_prompt_is_shown_the_tree_and_costs_what_its_tokens_cost(server: Server) -> None:
    price = {"per_1000_input_tokens": 0.002, "per_1000_output_tokens": 0.01}
    asked, ids = tickets(20)
    server.say = lambda text: "环保/噪音" if text.endswith("7") else "“城建/路灯”。" if text.endswith("8") else "路灯"
    endpoint = openai(server, price=price, body={"enable_thinking": False})
    said, usage = endpoints.answer_rows(endpoint, TICKETS, asked, ids, TREE)
    labels = [answer.target.model_dump()["label"] for answer in said]
    assert labels[6:9] == ["路灯", "环保/噪音", "城建/路灯"]
    assert usage.outside == 16  # said, but no label of the tree: an answer, and a wrong one
    assert (usage.calls, usage.input_tokens, usage.output_tokens, usage.retries) == (20, 2000, 200, 0)
    assert usage.cost_per_1000 == pytest.approx(0.3)
    assert 0 < usage.latency_median <= usage.latency_95
    assert usage.versions == ("made-up-7b",)
    assert "0.3 CNY per 1,000 calls" in usage.words
    sent = server.asked[0]
    assert "城建/路灯\n环保/噪音" in sent["messages"][0]["content"]
    assert (sent["temperature"], sent["enable_thinking"]) == (0, False)


def test_a_busy_endpoint_is_asked_again(server: Server) -> None:
    server.busy = 2
    asked, ids = tickets(5)
    said, usage = endpoints.answer_rows(openai(server), TICKETS, asked, ids, TREE)
    assert len(said) == 5
    assert usage.retries == 10


def test_rows_without_an_answer_are_counted_named_and_never_dropped(server: Server) -> None:
    asked, ids = tickets(12)
    server.say = lambda text: None if text.endswith(("3", "5")) else "城建/路灯"
    with pytest.raises(RefusedError, match="did not answer every test row") as refused:
        endpoints.answer_rows(openai(server), TICKETS, asked, ids, TREE)
    found = refused.value.found or ""
    assert "2 of 12 rows" in found
    assert "first: row-3" in found and "HTTP 400" in found


def test_a_wrong_key_costs_one_call(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "another")
    asked, ids = tickets(50)
    with pytest.raises(PolicyError, match="refuses us"):
        endpoints.answer_rows(openai(server), TICKETS, asked, ids, TREE)
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(UnknownName, match="TEST_KEY is not set"):
        endpoints.answer_rows(openai(server), TICKETS, asked, ids, TREE)


def test_tokens_that_were_not_told_make_the_cost_unknown_not_nothing(server: Server) -> None:
    server.tells_tokens = False
    asked, ids = tickets(2)
    _, usage = endpoints.answer_rows(openai(server, price={"per_1000_input_tokens": 1}), TICKETS, asked, ids, TREE)
    assert usage.cost is None
    assert "cost unknown" in usage.words


def test_a_writer_is_asked_as_its_task_declares(server: Server) -> None:
    server.say = lambda text: "<think>路灯……</think>\n文档未提及"
    asked = [ANSWERS.input.model_validate({"document": "办证不收费。", "question": "多久？"})]
    (said,), _ = endpoints.answer_rows(openai(server), ANSWERS, asked, ["a"])
    assert said.target.model_dump() == {"text": ""}
    assert ANSWERS.prompt is not None
    assert server.asked[0]["messages"] == ANSWERS.prompt.messages(asked[0])
    server.say = lambda text: "路" * 500
    ((title,), _) = endpoints.answer_rows(openai(server), SUMMARY, tickets(1)[0], ["a"])
    assert len(title.target.model_dump()["text"]) == 120  # as long as a title may be


def test_recordings_are_sent_as_sound_and_billed_by_the_minute(server: Server) -> None:
    asked = [SPEECH.input.model_validate({"audio": tone(seconds)}) for seconds in (1.0, 2.0)]
    said, usage = endpoints.answer_rows(openai(server, price={"per_audio_minute": 0.06}), SPEECH, asked, ["a", "b"])
    assert [answer.target.model_dump()["text"] for answer in said] == ["made-up 听了 1 秒", "made-up 听了 2 秒"]
    assert usage.cost == pytest.approx(0.003)
    with pytest.raises(InputError, match="has no words for dialect_identification"):
        endpoints.answer_rows(openai(server), DIALECTS, asked, ["a", "b"])


def test_another_hotlines_task_is_asked_in_its_own_words(server: Server) -> None:
    asked, ids = tickets(3)
    said, usage = endpoints.answer_rows(endpoints.at(server.url), TICKETS, asked, ids, TREE)
    assert said[0].confidence == 0.9
    assert said[0].alternatives[0][1] == 0.1
    assert usage.versions == ("tickets@7",)
    with pytest.raises(UnavailableError, match="does not answer this"):
        endpoints.answer_rows(endpoints.at(server.url), SUMMARY, asked, ids)


def test_where_nobody_listens_every_row_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.asking.FIRST_WAIT_SECONDS", 0.0)
    asked, ids = tickets(2)
    with pytest.raises(RefusedError, match="did not answer") as refused:
        endpoints.answer_rows(endpoints.at("http://127.0.0.1:9"), TICKETS, asked, ids, TREE)
    assert "2 of 2 rows" in (refused.value.found or "")


def declare(here: Settings, name: str, **content: Any) -> None:
    here.endpoints.mkdir(parents=True, exist_ok=True)
    (here.endpoints / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_an_endpoint_stands_beside_a_version_and_cannot_be_judged(
    server: Server, workspace_copy: Settings, candidate: ModelAddress
) -> None:
    truth = {
        given.model_dump()["text"]: target.model_dump()["label"]
        for rows in [open_snapshot(workspace_copy, TICKETS).rows("test")]
        for given, target in zip(rows.inputs, rows.targets, strict=True)
    }
    server.say = lambda text: truth[text]
    declared = {"url": f"{server.url}/v1", "kind": "openai", "model": "big", "key_env": "TEST_KEY", "concurrency": 16}
    declare(workspace_copy, "big", **declared, price={"per_1000_calls": 12})
    task, found = candidates(workspace_copy, [f"tickets@{candidate.version}", "endpoint:big"], (), None)
    comparison = compare(workspace_copy, task, found)
    first, second = comparison.as_dict()["systems"]
    assert (first["usage"], first["digest"], first["attested"]) == (None, candidate.digest, True)
    assert (second["name"], second["digest"], second["attested"]) == ("endpoint:big", None, False)
    assert [str(each.header) for each in comparison.table().columns].count("endpoint:big, unattested") == 1
    assert second["usage"]["cost_per_1000_calls"] == pytest.approx(12)
    assert "no confidence" in second["note"]
    overall = {f["score"]: f["estimate"] for f in second["figures"] if f["slice"] is None}
    assert overall["accuracy"] == 1.0
    assert second["differences"][0]["estimate"] > 0
    assert comparison.table().row_count == sum(each["estimate"] is not None for each in first["figures"])
    with pytest.raises(RefusedError, match="never judged or promoted"):
        resolve(workspace_copy, "endpoint:big")


def test_a_mistake_in_a_declaration_is_named(site: Any) -> None:
    with pytest.raises(UnknownName, match="no endpoint named 'big'"):
        endpoints.load(site.settings, "endpoint:big")
    declare(site.settings, "big", url="http://127.0.0.1", kind="openai", api_key="sk-secret")
    with pytest.raises(InputError, match="not declared well") as wrong:
        endpoints.load(site.settings, "endpoint:big")
    assert "api_key" in str(wrong.value) and "sk-secret" not in str(wrong.value)
    declare(site.settings, "big", url="http://127.0.0.1")
    with pytest.raises(InputError, match="--task"):
        candidates(site.settings, ["endpoint:big"], ["http://127.0.0.1:9"], None)
