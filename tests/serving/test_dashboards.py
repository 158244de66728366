"""The dashboard and the alerts ask for metrics that there are; a real Prometheus draws every panel."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from pipelines.cli import app
from serving.watch import meters, panels

ENDINGS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
KNOWN = {each.name + ending: each.labels for each in meters.ALL for ending in ENDINGS[each.kind]}
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus: make prometheus")


@pytest.mark.parametrize(("name", "query"), [*panels.queries(), *panels.alerts()])
def test_every_panel_and_alert_asks_for_metrics_and_labels_that_there_are(name: str, query: str) -> None:
    named = set(re.findall(r"\bhotline_\w+", query))
    assert named, name
    assert named <= KNOWN.keys()
    labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|!~|=)", query))
    for listed in re.findall(r"by \(([^)]*)\)", query):
        labels |= {label.strip() for label in listed.split(",")}
    has = {label for name in named for label in KNOWN[name]} | {"le", "instance"}
    assert labels <= has


def test_every_metric_is_drawn_somewhere() -> None:
    drawn = " ".join(query for _, query in panels.queries())
    assert [each.name for each in meters.ALL if each.name not in drawn] == []


def test_dashboard_and_alerts_are_exported_for_grafana_and_prometheus(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["dashboards", "export", str(tmp_path / "there")]).exit_code == 0
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"hotline.json", "alerts.yaml"}


@needs_prometheus
def test_promtool_accepts_the_alerts() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(panels.ALERTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prometheus(folder: Path, endpoint: str, port: int) -> Iterator[httpx.Client]:
    """A real Prometheus that scrapes the endpoints every second and judges our alerts."""
    target = endpoint.removeprefix("http://")
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(panels.ALERTS)],
        "scrape_configs": [{"job_name": "hotline", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(content))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def asked(client: httpx.Client, query: str) -> list[Any]:
    """What Prometheus answers to an instant query; nothing while it starts."""
    try:
        response = client.get("/query", params={"query": query})
    except httpx.TransportError:
        return []
    if response.status_code == 503:
        return []
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["data"]["result"]
    return found


def ask_everything(http: httpx.Client, recording: bytes) -> None:
    """A little of each: texts, a recording, a streamed text, a mistake."""
    for text in ("路灯坏了", "井盖丢了"):
        assert http.post("/v1/tasks/ticket_category", json={"text": text}).status_code == 200
    assert http.post("/v1/tasks/transcription", files={"file": ("call.wav", recording)}).status_code == 200
    chat = {"model": "titles", "messages": [{"role": "user", "content": "路灯坏了"}], "max_completion_tokens": 8}
    assert http.post("/v1/chat/completions", json={**chat, "stream": True}).status_code == 200
    assert http.post("/v1/tasks/ticket_category", json={"text": 5}).status_code == 422


@needs_prometheus
@pytest.mark.slow
def test_a_real_prometheus_scrapes_live_endpoints_and_every_panel_has_data(
    tmp_path: Path, endpoint: str, http: httpx.Client, recording: bytes, free_port: int, drifting: str
) -> None:
    empty = list(panels.queries())
    with prometheus(tmp_path, endpoint, free_port) as client:
        give_up = time.monotonic() + 120
        while empty and time.monotonic() < give_up:
            ask_everything(http, recording)
            time.sleep(1)
            empty = [(title, query) for title, query in panels.queries() if not _numbers(asked(client, query))]
        rules = client.get("/rules").json()["data"]["groups"][0]["rules"]
    assert empty == []
    assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(dict(panels.alerts()), "ok")


def _numbers(result: list[Any]) -> list[float]:
    """The values that can be drawn."""
    return [value for series in result if (value := float(series["value"][1])) == value]
