"""`POST /v1/chat/completions`, as OpenAI's clients call it: what a version cannot do is refused, never ignored.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.responses import StreamingResponse

from hotline.errors import HotlineError
from hotline.tasks import TASKS
from serving import guard
from serving.bodies import problem
from serving.calls import ERRORS, EVENT, EVENTS, CallId, answering_model
from serving.chat_answers import ChatCompletion, ChatProvenance
from serving.chat_choices import Choices, sent
from serving.chat_request import ChatRequest
from serving.strict import StrictRoute
from serving.switchboard import Switchboard

log = logging.getLogger("ray.serve")

PATH = "/v1/chat/completions"
Result = TypeVar("Result")


def add(app: FastAPI, switchboard: Switchboard) -> None:
    """Add the route."""

    async def call(request: Request, asked: ChatRequest, x_call_id: CallId = None) -> Response:
        async with AsyncExitStack() as stack:
            ours = stack.enter_context(answering_model(request, switchboard, asked.model, "writer"))
            said = switchboard.stream(ours.route, "chat", asked)
            stack.push_async_callback(said.aclose)
            begun = await anext(said)
            found = ChatProvenance.by(ours, begun.prompt, begun.decoding)
            headers = {**ours.headers(x_call_id), "X-Judged-As": found.judged_as(TASKS[ours.route.task])}
            choices = Choices(asked, ours, begun.prompt_tokens, int(time.time()))
            if asked.stream:
                events = _events(stack.pop_all(), said, choices, ours.id)
                return StreamingResponse(events, headers=headers, media_type=EVENTS)
            await _collect(said, choices)
            return Response(choices.whole(found), headers=headers, media_type="application/json")

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=ChatCompletion,
        responses={**ERRORS, 200: {"content": {EVENTS: EVENT}}},
        summary="The next turn of a conversation, as OpenAI's clients ask for it",
        operation_id="chat_completions",
        tags=["OpenAI-compatible"],
        route_class_override=StrictRoute,
    )


async def _collect(said: AsyncIterator[Any], choices: Choices) -> None:
    async for news in said:
        choices.take(news)


async def _events(stack: AsyncExitStack, said: AsyncIterator[Any], choices: Choices, name: str) -> AsyncIterator[str]:
    """The stream's events; its version stays until the last. An error is an event too: the status is sent already."""
    async with stack:
        try:
            for event in choices.first():
                yield event
            async for news in said:
                for chunk in choices.take(news):
                    yield choices.event(chunk)
            for event in choices.last():
                yield event
        except HotlineError as error:
            yield sent(problem(error, name).model_dump(mode="json"))
        except Exception:
            log.exception("request %s failed", name)
            yield sent(problem(guard.internal(), name).model_dump(mode="json"))
