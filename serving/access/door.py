"""The door: nothing gets in without a key that is right, holds, and is for that address. Pure ASGI, microseconds."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hotline import policy, requests
from hotline.errors import AccessError, HotlineError
from hotline.policy import SitePolicy
from serving import guard
from serving.access import register, rights
from serving.access.audit import Audit
from serving.access.keys import MAX_CHARACTERS, Keys
from serving.access.quotas import Quotas
from serving.access.records import Issued, Priority
from serving.access.register import Register
from serving.access.rights import Right
from serving.access.strangers import Strangers, neighbourhood

log = logging.getLogger("ray.serve")

HEADERS = frozenset({b"authorization", b"sec-fetch-site", b"x-priority"})
LOOK_SECONDS = 1.0
"""How often the register's file is looked at: so soon a revoked key is refused."""


class Ring:
    """The keys of the register as they are now. What cannot be verified changes nothing: the last ones stay."""

    def __init__(self, known: Register) -> None:
        self._register = known
        self._seen: tuple[int, int, int] | None = None
        self._looked = 0.0
        self.keys = Keys()
        self._read()

    async def current(self) -> Keys:
        """The keys; the file is read again, off the loop, when it was replaced."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            if (mark := self._mark()) != self._seen:
                await asyncio.to_thread(self._read)
                self._seen = mark
        return self.keys

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._register.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> None:
        try:
            self._seen = self._mark()
            self.keys = self._register.read()
        except (HotlineError, OSError) as error:
            log.error("the access keys stay as they were: %s", " ".join(str(error).split()))


class Door:
    """The outermost layer. Without required access it lets everybody in, as this machine's own."""

    def __init__(self, app: ASGIApp, site: SitePolicy, state: Path) -> None:
        self._app = app
        self._ring = Ring(_register(site, state)) if site.access == "required" else None
        self._strangers, self._quotas = Strangers(), Quotas()
        self._audit = Audit(state / "access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers, state = _wanted(scope), scope.setdefault("state", {})
        state["stamp"], state["priority"] = requests.stamp(), _priority(headers)
        if self._ring is None or scope["path"] == rights.OPEN:
            await self._app(scope, receive, send)
            return
        right = rights.of(scope["path"])
        try:
            key = await self._admit(self._ring, scope, headers)
        except AccessError as error:
            self._audit.stranger(scope.get("method", ""), right.place, error.http_status)
            await _refuse(error, scope, receive, send)
            return
        state["key"], state["priority"] = key, _priority(headers, key.priority)
        await self._pass(key, right, scope, receive, send)

    async def _admit(self, ring: Ring, scope: Scope, headers: Mapping[bytes, str]) -> Issued:
        """Whose call it is. Raises AccessError for a key that is missing, wrong, expired or revoked."""
        sent = credentials(headers)
        if not sent:
            raise AccessError(
                "this address needs an access key",
                where="header Authorization",
                found="none",
                expected="Bearer and the key",
                next="ask the site's operator for a key: hotline access create",
            )
        keys, host = await ring.current(), (scope.get("client") or ("",))[0]
        who = (neighbourhood(host), keys.named(sent))
        self._strangers.refuse_waiting(who)
        key = keys.holder(sent)
        if key is None:
            self._strangers.wrong(who)
        ended = keys.ended(key) if key else "the access key is not one of this site"
        if key is None or ended:
            raise AccessError(
                ended or "", where="header Authorization", next="ask the site's operator for a key that holds"
            )
        return key

    async def _pass(self, key: Issued, right: Right, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the call in, if it is the key's, and write down how it ended."""
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            rights.check(key, right)
            if right.place == f"{rights.TASKS}/":
                rights.check_task(scope, scope["path"].split("/")[3])
            with self._quotas.taken(key):
                await self._app(scope, receive, watched)
        except AccessError as error:
            await _refuse(error, scope, receive, watched)
        finally:
            what = getattr(scope.get("route"), "path", right.place)
            id = scope["state"].get("request_id") or scope["state"]["stamp"]
            self._audit.call(key.id, scope.get("method", ""), what, status, id)


def _wanted(scope: Scope) -> dict[bytes, str]:
    """The headers that the door reads, in one pass."""
    return {name: value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}


def credentials(headers: Mapping[bytes, str]) -> str:
    """The key that was sent: as Bearer, or as the password that a browser was asked for; "" for none."""
    scheme, _, rest = headers.get(b"authorization", "").partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return rest[: MAX_CHARACTERS + 1]
    if scheme.lower() != "basic" or headers.get(b"sec-fetch-site") == "cross-site":
        return ""  # browsers send passwords along with what other sites' pages ask
    try:
        return base64.b64decode(rest[: 4 * MAX_CHARACTERS], validate=True).decode("latin-1").partition(":")[2]
    except binascii.Error:
        return ""


def _priority(headers: Mapping[bytes, str], most: Priority = "live") -> Priority:
    """Of the call; a caller may lower what the key has, never raise it."""
    return "bulk" if most == "bulk" or headers.get(b"x-priority", "").lower() == "bulk" else "live"


async def _refuse(error: AccessError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    answer = guard.failure(error, guard.request_id(scope))
    if error.http_status == 401:
        page = "text/html" in Headers(scope=scope).get("accept", "")
        answer.headers["WWW-Authenticate"] = f'{"Basic" if page else "Bearer"} realm="hotline"'
    await answer(scope, receive, send)


def _register(site: SitePolicy, state: Path) -> Register:
    workspace = state.parent  # the policy is where it was read from
    return Register(
        state / "access" / register.FILE, site.site, policy.load_signers(workspace), workspace / "access.head"
    )
