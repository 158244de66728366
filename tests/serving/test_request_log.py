"""Request lines, traces and minutes of an ingress that nobody has told of any version, and of a live one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.testclient import TestClient

from hotline import requests, settings
from hotline.policy import SitePolicy
from serving.app import build
from serving.switchboard import Switchboard
from serving.watch import meters, minutes

if TYPE_CHECKING:
    from tests.serving.conftest import Site

SECRET = "李女士13865200705"
PATH = "/v1/tasks/ticket_category"
OUTER = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a collector of traces is sent; the environment names it as OpenTelemetry does."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append({"path": self.path, "key": self.headers["X-Key"], **content})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20key")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "hotline-test")
    yield got
    server.shutdown()
    server.server_close()


def ask(folder: Path, days: int = 30) -> None:
    """A few requests to an ingress that nothing answers behind, until it ends."""
    policy = {"schema_version": 1, "site": "test", "profile": "demo", "watch": {"request_log_days": days}}
    app = build(SitePolicy.model_validate(policy), Switchboard("test"), folder)
    client = TestClient(app, raise_server_exceptions=False)
    client.post(PATH, json={"text": SECRET}, headers={"traceparent": f"00-{OUTER}-b7ad6b7169203331-01"})
    client.get(f"/{SECRET}")
    watch: Any = next(layer.kwargs["watch"] for layer in app.user_middleware if "watch" in layer.kwargs)
    watch._close()


def lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "watch" / "requests").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_request_leaves_a_line_and_no_word_of_it(tmp_path: Path) -> None:
    ask(tmp_path)
    first, second = lines(tmp_path)
    assert (first["route"], first["method"], first["status"]) == (PATH, "POST", 503)
    assert first["ms"] > 0
    assert (second["status"], "route" in second) == (404, False)
    assert SECRET not in json.dumps(lines(tmp_path), ensure_ascii=False)
    (folder,) = (tmp_path / "watch").glob("requests")
    assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0]


def test_a_site_that_keeps_lines_for_no_day_writes_none(tmp_path: Path) -> None:
    ask(tmp_path, days=0)
    assert lines(tmp_path) == []


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert settings.collector() is None
    ask(tmp_path)
    assert not any("trace" in line for line in lines(tmp_path))


def test_requests_are_traced_within_their_callers_trace(collector: list[dict[str, Any]], tmp_path: Path) -> None:
    ask(tmp_path)
    (sent,) = collector
    assert (sent["path"], sent["key"]) == ("/v1/traces", "a key")
    (resource,) = sent["resourceSpans"]
    named = {each["key"]: each["value"] for each in resource["resource"]["attributes"]}
    assert named["service.name"] == {"stringValue": "hotline-test"}
    first, second = resource["scopeSpans"][0]["spans"]
    assert (first["traceId"], first["parentSpanId"]) == (OUTER, "b7ad6b7169203331")
    assert (first["name"], first["kind"], first["status"]["code"]) == (f"POST {PATH}", 2, 2)
    assert second["traceId"] != OUTER
    assert SECRET not in json.dumps(sent, ensure_ascii=False)
    assert [line["trace"] for line in lines(tmp_path)] == [first["traceId"], second["traceId"]]


def test_a_collector_that_is_not_there_costs_no_request_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/")
    ask(tmp_path)
    assert [line["status"] for line in lines(tmp_path)] == [503, 404]


def test_a_live_answer_leaves_a_line_with_its_version_and_a_minute(live_site: Site, http: httpx.Client) -> None:
    answer = http.post(PATH, json={"text": SECRET}).json()
    state, give_up = live_site.settings.state, time.monotonic() + 30
    while not (found := [line for line in lines(state) if line["id"] == answer["id"]]):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    ((line),) = found
    version = f"{answer['provenance']['model']}@{answer['provenance']['version']}"
    assert (line["task"], line["version"], line["status"]) == ("ticket_category", version, 200)
    assert requests.parse(line["id"]).task == "ticket_category"
    assert SECRET not in json.dumps(lines(state), ensure_ascii=False)


def test_a_minute_has_what_was_counted_since_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = {f"bucket {edge}": 2.0 for edge in meters.SECONDS}
    counted = [
        {"requests": 5.0, "answers": 5.0},
        {"requests": 9.0, "answers": 8.0, "failed": 1.0, **below, "bucket inf": 4.0},
        {"requests": 9.0, "answers": 8.0, "failed": 1.0, **below, "bucket inf": 4.0},
    ]
    monkeypatch.setattr(minutes, "_totals", lambda: {("ticket_category", "tickets@1"): counted.pop(0)})
    minutes.begin(tmp_path)
    for _ in range(3):
        minutes.Minutes(tmp_path).write()
    first, second = minutes.read(tmp_path, "tickets@1")
    assert (first.requests, second.requests) == (5, 4)
    assert (second.answers, second.failed) == (3, 1)
    assert (second.buckets[0], second.buckets[-1], sum(second.buckets)) == (2, 2, 4)
