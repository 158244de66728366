"""Messages to people's chats when a gate refuses, a run ends, a version falls back, or what is asked has moved.

They say names of tasks, versions and bars, and nothing that a caller said. A message is sent from a thread of its own:
whatever becomes of it, the work that it tells of goes on.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote_plus, urlsplit

from pydantic import BaseModel, ConfigDict

from hotline.errors import HotlineError, UnavailableError
from hotline.policy import SitePolicy
from hotline.webhooks import Event, Webhook

log = logging.getLogger(__name__)

TRIES = 4
PAUSE_SECONDS = 0.5
"""Before the second try; twice as long before each further one."""
ANSWER_SECONDS = 5.0
MOST_BYTES = 65_536
BUSY = (429, 500, 502, 503, 504)
LAST_SECONDS = 5.0
"""How long the end of a program waits for messages that are on their way."""
WORDS: Mapping[Event, str] = {
    "gate_refused": "the gate refused · 评测未通过",
    "run_ended": "a training run ended · 训练结束",
    "fell_back": "a version fell back · 版本已回退",
    "champion_refused": "the champion is not served · 冠军版本未能上线",
    "drift": "requests have moved · 数据漂移",
    "test": "a test message · 测试消息",
}
_on_their_way: set[threading.Thread] = set()


class Notice(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: Event
    site: str
    task: str | None = None
    version: str | None = None
    said: str
    """What happened, in names that this platform gave; never in a caller's words."""
    next: str | None = None

    def text(self) -> str:
        """The message for people, on a few lines."""
        parts = (("task", self.task), ("version", self.version), ("next", self.next))
        lines = [f"[{self.site}] {WORDS[self.event]}", self.said]
        return "\n".join([*lines, *(f"{name}: {value}" for name, value in parts if value)])


@dataclass(frozen=True)
class Request:
    """What is posted where."""

    url: str
    body: bytes
    headers: Mapping[str, str]


def tell(site: SitePolicy, notice: Notice) -> None:
    """Send the notice to every webhook that wants its event; returns at once and never raises."""
    for webhook in site.webhooks:
        if notice.event in webhook.events or notice.event == "test":
            thread = threading.Thread(target=_quietly, args=(webhook, notice), name="notice", daemon=True)
            if not _on_their_way:
                atexit.register(wait, LAST_SECONDS)
            _on_their_way.add(thread)
            thread.start()


def wait(seconds: float) -> None:
    """Until every message is sent or given up, or that long."""
    give_up = time.monotonic() + seconds
    for thread in list(_on_their_way):
        thread.join(max(0.0, give_up - time.monotonic()))


def _quietly(webhook: Webhook, notice: Notice) -> None:
    try:
        send(webhook, notice)
    except HotlineError as error:
        log.warning("a notice was not sent: %s", " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 - its text could name the address, which is a secret
        log.warning("a notice was not sent to %s: %s", webhook.kind, type(error).__name__)
    finally:
        _on_their_way.discard(threading.current_thread())


def send(webhook: Webhook, notice: Notice) -> None:
    """Send it and wait for the answer, with a few tries.

    Raises UnavailableError when nobody takes it, UnknownName when the address is not where the policy says.
    """
    import tenacity

    asked = FORMATS[webhook.kind](webhook, notice, time.time())
    where = f"the {webhook.kind} webhook at {urlsplit(asked.url).hostname}"
    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_exponential(multiplier=PAUSE_SECONDS),
        retry=tenacity.retry_if_exception_type((OSError, HTTPException))
        | tenacity.retry_if_result(lambda said: said[0] in BUSY),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    try:
        status, content = again(_post, asked)
    except (OSError, HTTPException) as error:
        raise UnavailableError("nobody took the notice", where=where, found=type(error).__name__) from None
    if refusal := _refusal(status, content):
        raise UnavailableError("the notice was refused", where=where, found=refusal, next="check its address and key")


def _post(asked: Request) -> tuple[int, bytes]:
    """Status and content of the answer. No redirect is followed, and nothing logs the address, which is a secret."""
    url = urlsplit(asked.url)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    with closing(kind(url.hostname or "", url.port, timeout=ANSWER_SECONDS)) as connection:
        connection.request("POST", f"{url.path or '/'}?{url.query}", asked.body, dict(asked.headers))
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_BYTES)


def _refusal(status: int, content: bytes) -> str | None:
    """The chats say 200 to what they refuse, with a code that is not 0."""
    if not 200 <= status < 300:
        return f"status {status}"
    try:
        said: Any = json.loads(content)
    except ValueError:
        return None
    code = next((said[name] for name in ("errcode", "code") if name in said), 0) if isinstance(said, dict) else 0
    return f"code {code}" if code else None


def _wecom(webhook: Webhook, notice: Notice, now: float) -> Request:
    """https://developer.work.weixin.qq.com/document/path/91770"""
    return _posted(webhook.url.value(), {"msgtype": "text", "text": {"content": notice.text()}})


def _dingtalk(webhook: Webhook, notice: Notice, now: float) -> Request:
    """https://open.dingtalk.com/document/robots/customize-robot-security-settings"""
    url = webhook.url.value()
    if webhook.secret:
        stamp, secret = str(int(now * 1000)), webhook.secret.value()
        sign = base64.b64encode(_hmac(secret, f"{stamp}\n{secret}")).decode()
        url += f"{'&' if '?' in url else '?'}timestamp={stamp}&sign={quote_plus(sign)}"
    return _posted(url, {"msgtype": "text", "text": {"content": notice.text()}})


def _feishu(webhook: Webhook, notice: Notice, now: float) -> Request:
    """https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot; its key signs an empty message."""
    content: dict[str, Any] = {"msg_type": "text", "content": {"text": notice.text()}}
    if webhook.secret:
        stamp = str(int(now))
        sign = base64.b64encode(_hmac(f"{stamp}\n{webhook.secret.value()}", "")).decode()
        content = {"timestamp": stamp, "sign": sign, **content}
    return _posted(webhook.url.value(), content)


def _plain(webhook: Webhook, notice: Notice, now: float) -> Request:
    """The notice's fields; with a secret, X-Hotline-Signature is `sha256=` and the body's HMAC in hex."""
    asked = _posted(webhook.url.value(), {**notice.model_dump(), "time": int(now)})
    if webhook.secret:
        sign = hmac.new(webhook.secret.value().encode(), asked.body, hashlib.sha256).hexdigest()
        return Request(asked.url, asked.body, {**asked.headers, "X-Hotline-Signature": f"sha256={sign}"})
    return asked


FORMATS: Mapping[str, Callable[[Webhook, Notice, float], Request]] = {
    "wecom": _wecom,
    "dingtalk": _dingtalk,
    "feishu": _feishu,
    "json": _plain,
}


def _posted(url: str, content: Mapping[str, Any]) -> Request:
    return Request(url, json.dumps(content, ensure_ascii=False).encode(), {"Content-Type": "application/json"})


def _hmac(key: str, text: str) -> bytes:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
