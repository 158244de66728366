"""Notices, sent to a real HTTP server on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hotline import notices
from hotline.errors import UnavailableError, UnknownName
from hotline.notices import Notice
from hotline.policy import SitePolicy

SECRET = "SEC-not-for-anybody"
NOTICE = Notice(
    event="gate_refused", site="test", task="ticket_category", version="tickets@3", said="macro_f1 under its floor"
)


@dataclass
class Robot:
    """A chat's robot: what it was sent, and what it answers, one answer after the other."""

    url: str
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    got: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)

    @property
    def only(self) -> dict[str, Any]:
        """The one message that came."""
        ((_, content, _),) = self.got
        said: dict[str, Any] = json.loads(content)
        return said


@pytest.fixture
def robot() -> Iterator[Robot]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((self.path, content, dict(self.headers)))
            status, body = made.answers.pop(0) if made.answers else (200, b'{"errcode": 0, "errmsg": "ok"}')
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Robot(f"http://127.0.0.1:{server.server_port}/robot?key=hidden-key")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "PAUSE_SECONDS", 0.01)


def site(kind: str, url: str, folder: Path, secret: bool = True, **more: Any) -> SitePolicy:
    (folder / "url").write_text(url + "\n")
    (folder / "secret").write_text(SECRET)
    webhook = {"kind": kind, "url": {"file": str(folder / "url")}, **more}
    webhook |= {"secret": {"file": str(folder / "secret")}} if secret else {}
    return SitePolicy.model_validate({"schema_version": 1, "site": "test", "profile": "demo", "webhooks": [webhook]})


def sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def told(policy: SitePolicy, notice: Notice = NOTICE) -> None:
    notices.tell(policy, notice)
    notices.wait(20)


def test_wecom_is_sent_a_text(robot: Robot, tmp_path: Path) -> None:
    told(site("wecom", robot.url, tmp_path, secret=False))
    assert robot.only["msgtype"] == "text"
    assert "tickets@3" in robot.only["text"]["content"]
    assert robot.got[0][0] == "/robot?key=hidden-key"


def test_dingtalk_is_sent_a_signed_text(robot: Robot, tmp_path: Path) -> None:
    told(site("dingtalk", robot.url, tmp_path))
    asked = parse_qs(urlsplit(robot.got[0][0]).query)
    (stamp,) = asked["timestamp"]
    assert abs(int(stamp) / 1000 - time.time()) < 60
    assert asked["sign"] == [sign(SECRET, f"{stamp}\n{SECRET}")]
    assert asked["key"] == ["hidden-key"]
    assert robot.only["msgtype"] == "text"


def test_feishu_is_sent_a_signed_text(robot: Robot, tmp_path: Path) -> None:
    robot.answers.append((200, b'{"code": 0, "msg": "success"}'))
    told(site("feishu", robot.url, tmp_path))
    said = robot.only
    assert said["sign"] == sign(f"{said['timestamp']}\n{SECRET}", "")
    assert (said["msg_type"], "macro_f1" in said["content"]["text"]) == ("text", True)


def test_plain_json_has_the_fields_and_a_signature_of_its_bytes(robot: Robot, tmp_path: Path) -> None:
    told(site("json", robot.url, tmp_path))
    _, content, headers = robot.got[0]
    assert robot.only["event"] == "gate_refused"
    assert headers["X-Hotline-Signature"] == "sha256=" + hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()


def test_a_busy_robot_is_asked_again(robot: Robot, tmp_path: Path) -> None:
    robot.answers += [(503, b""), (429, b"")]
    told(site("wecom", robot.url, tmp_path))
    assert len(robot.got) == 3


def test_a_robot_that_refuses_with_status_200_is_a_failure_and_told_without_its_address(
    robot: Robot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    robot.answers.append((200, b'{"errcode": 310000, "errmsg": "sign not match"}'))
    with caplog.at_level(logging.WARNING):
        told(site("dingtalk", robot.url, tmp_path))
    assert "310000" in caplog.text
    assert "hidden-key" not in caplog.text
    assert SECRET not in caplog.text


def test_a_robot_that_is_not_there_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = site("wecom", "http://127.0.0.1:9/robot?key=hidden-key", tmp_path)
    began = time.monotonic()
    notices.tell(policy, NOTICE)
    assert time.monotonic() - began < 1
    with caplog.at_level(logging.WARNING):
        notices.wait(20)
    assert "nobody took the notice" in caplog.text
    assert "hidden-key" not in caplog.text


def test_a_secret_that_is_missing_stops_nobody_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = site("wecom", "http://127.0.0.1:9", tmp_path)
    (tmp_path / "url").unlink()
    with caplog.at_level(logging.WARNING):
        told(policy)
    assert "cannot be read" in caplog.text
    with pytest.raises(UnknownName):
        notices.send(policy.webhooks[0], NOTICE)


def test_a_webhook_is_told_of_the_events_that_it_names(robot: Robot, tmp_path: Path) -> None:
    policy = site("json", robot.url, tmp_path, events=["fell_back"])
    told(policy)
    assert robot.got == []
    told(policy, NOTICE.model_copy(update={"event": "fell_back"}))
    assert robot.only["event"] == "fell_back"


def test_no_redirect_is_followed(robot: Robot, tmp_path: Path) -> None:
    robot.answers.append((302, b""))
    with pytest.raises(UnavailableError, match="refused"):
        notices.send(site("json", robot.url, tmp_path).webhooks[0], NOTICE)


@pytest.mark.parametrize("url", [{}, {"env": "A", "file": "b"}, {"value": "https://x"}])
def test_an_address_is_in_the_environment_or_in_a_file(url: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="webhooks"):
        SitePolicy.model_validate(
            {"schema_version": 1, "site": "test", "profile": "demo", "webhooks": [{"kind": "json", "url": url}]}
        )


def test_a_policy_has_the_digest_that_it_had_without_webhooks(robot: Robot, tmp_path: Path) -> None:
    policy = site("json", robot.url, tmp_path)
    assert policy.digest == policy.model_copy(update={"webhooks": ()}).digest
