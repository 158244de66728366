"""HTTP in the ingress's own process: between a caller and the ingress stands no proxy of Ray Serve's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from hotline.errors import UnavailableError
from hotline.settings import Settings

KEEP_ALIVE_SECONDS = 90
"""Longer than clients keep idle connections, so that none is closed while a call is on its way."""
DRAIN_SECONDS = 30


class Address(NamedTuple):
    """Where to listen; over TLS with a certificate and its key."""

    host: str
    port: int
    certificate: Path | None = None
    certificate_key: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Address:
        return cls(settings.host, settings.port, settings.certificate, settings.certificate_key)


class _Server(uvicorn.Server):
    """Signals are Ray's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One socket, answered by one ASGI application on this event loop."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        """Raises OSError when the address cannot be listened on."""
        self._socket, self._address = bind(address), address
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="on",
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # whom a connection comes from, nobody may say in a header
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                ssl_certfile=address.certificate,
                ssl_keyfile=address.certificate_key,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Until calls are taken."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            self.check()
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """Raises UnavailableError when nobody listens any more."""
        if self._serving is None or self._serving.done():
            where = f"{self._address.host}:{self._address.port}"
            raise UnavailableError("the ingress does not listen any more", where=where)

    async def close(self) -> None:
        """Take no more calls, and let those in progress finish."""
        self._server.should_exit = True
        if self._serving:
            await self._serving


def bind(address: Address) -> socket.socket:
    """A socket that several ingresses of one machine may share; the kernel deals out the connections."""
    made = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address.host, address.port))
    made.setblocking(False)
    return made
