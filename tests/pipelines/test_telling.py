"""What people are told of judging and training, at a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hotline import notices, settings, tasks
from hotline.errors import RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from pipelines import telling
from pipelines.cli import app
from training.recipe import load

ADDRESS = ModelAddress(line="tickets", version="3", digest="a" * 64, files={}, run_id="none")
RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "tickets.yaml"


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a program that is told, and what it was told."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()


@pytest.fixture
def here(tmp_path: Path, told: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOTLINE_TEST_WEBHOOK", told[0])
    (tmp_path / "policy").mkdir()
    webhooks = [{"kind": "json", "url": {"env": "HOTLINE_TEST_WEBHOOK"}}]
    site = {"schema_version": 1, "site": "test", "profile": "demo", "webhooks": webhooks}
    (tmp_path / "policy" / "site.yaml").write_text(yaml.safe_dump(site))
    return settings.load(tmp_path)


def test_a_version_that_cannot_be_judged_is_told_without_the_row_that_it_is_about(
    here: Settings, told: tuple[str, list[dict[str, Any]]]
) -> None:
    error = RefusedError("test rows leaked", found="李女士 13865200705")
    telling.not_judged(here, tasks.find("ticket_category"), ADDRESS, error)
    notices.wait(20)
    ((said),) = told[1]
    assert (said["event"], said["version"], said["task"]) == ("gate_refused", "tickets@3", "ticket_category")
    assert "13865200705" not in json.dumps(said, ensure_ascii=False)


@pytest.mark.parametrize(
    ("left", "words"),
    [(ADDRESS, "left tickets@3"), (RuntimeError("李女士"), "failed (RuntimeError)"), (40, "stopped at step 40")],
)
def test_the_end_of_a_run_is_told_whatever_it_left(
    here: Settings, told: tuple[str, list[dict[str, Any]]], left: Any, words: str
) -> None:
    telling.ran(here, load(RECIPE), "tickets", left)
    notices.wait(20)
    ((said),) = told[1]
    assert said["event"] == "run_ended"
    assert words in said["said"]
    assert "李女士" not in said["said"]


def test_a_test_message_says_who_took_it(here: Settings, told: tuple[str, list[dict[str, Any]]]) -> None:
    asked = ["--workspace", str(here.workspace), "notify", "--json"]
    done = CliRunner().invoke(app, asked)
    assert json.loads(done.stdout)[0]["taken"]
    assert told[1][0]["event"] == "test"


@pytest.mark.parametrize("site", ["no: policy", "{schema_version: 1, site: test, profile: demo}"])
def test_a_site_without_webhooks_or_without_a_policy_tells_nobody(
    here: Settings, told: tuple[str, list[dict[str, Any]]], site: str
) -> None:
    (here.workspace / "policy" / "site.yaml").write_text(site)
    telling.ran(here, load(RECIPE), "tickets", ADDRESS)
    notices.wait(20)
    assert told[1] == []
