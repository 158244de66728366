"""Nobody computes for a caller who has hung up."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def answer(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Run `app` on a body that is read already; it is cancelled when its caller hangs up."""
    hung_up = asyncio.Event()
    read = False

    async def replayed() -> Message:
        nonlocal read
        if not read:
            read = True
            return {"type": "http.request", "body": body, "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        hung_up.set()

    working, listening = asyncio.ensure_future(app(scope, replayed, send)), asyncio.ensure_future(listen())
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if hung_up.is_set() and not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
        else:
            await working
    finally:
        working.cancel()
        listening.cancel()
