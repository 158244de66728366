"""An OpenAI-compatible server (vLLM, SGLang, transformers serve) that writes in the place of our own engine.

It is asked at `/v1/completions`, in text: prompt and meaning stay the family's. What such servers are known to ignore
is refused. They tell no probabilities that can be relied on, so an answer is scored by the replica's own copy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from hotline.errors import HotlineError, InputError, UnavailableError
from serving.engines.launched import Server
from serving.engines.plans import Finish, Penalties, Piece, Plan, Token

log = logging.getLogger("ray.serve")

ANSWER_SECONDS = 300.0


class UpstreamEngine:
    """Writes as `Continuous` does, with the server's own batching."""

    def __init__(self, writer: Any, server: Server, name: str) -> None:
        self._writer, self._chat, self._server, self._name = writer, writer.chat, server, name

    def stop(self) -> None:
        self._server.stop()

    async def write(self, plans: Sequence[Plan]) -> AsyncIterator[dict[int, Piece]]:
        """What is written of all these answers, as it is, by their numbers; who stops asking ends them.

        Raises InputError for what the server would ignore, UnavailableError when it does not answer.
        """
        bodies = [self._body(plan) for plan in plans]
        news: asyncio.Queue[tuple[int, Piece | Exception]] = asyncio.Queue()
        async with httpx.AsyncClient(base_url=self._server.url, timeout=ANSWER_SECONDS, trust_env=False) as http:
            writing = [
                asyncio.create_task(self._tell(http, number, plan, body, news))
                for number, (plan, body) in enumerate(zip(plans, bodies, strict=True))
            ]
            try:
                left = len(plans)
                while left:
                    number, piece = await news.get()
                    if isinstance(piece, Exception):
                        raise piece
                    left -= piece.finish is not None
                    yield {number: piece}
            finally:
                for task in writing:
                    task.cancel()
                await asyncio.gather(*writing, return_exceptions=True)

    def _body(self, plan: Plan) -> dict[str, Any]:
        """The request. Raises InputError for a plan that such servers do not follow."""
        ignored = {
            "response_format or tools": plan.grammar is not None,
            "logit_bias": bool(plan.bias),
            "logprobs": bool(plan.top),
            "presence_penalty, frequency_penalty or repetition_penalty": plan.penalties != Penalties(),
            "temperature, top_p, top_k, min_p or seed": plan.sampling is not None,
            "stop": bool(plan.stops),
        }
        for fields, is_asked in ignored.items():
            if is_asked:
                raise InputError(
                    "the server that writes for this version ignores that, so it is refused",
                    where="body",
                    found=fields,
                    expected="a request without it",
                    next="see /docs",
                )
        tokenizer = self._chat.tokenizer
        text = tokenizer.decode(list(plan.prompt), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokenizer(text, add_special_tokens=False)["input_ids"] != list(plan.prompt):
            raise InputError("the prompt cannot be put to the server in text", where="body", next="send other text")
        longest = {"max_tokens": plan.limits.longest, "temperature": 0.0, "stream": True}
        return {"model": self._name, "prompt": text, **longest}

    async def _tell(
        self,
        http: httpx.AsyncClient,
        number: int,
        plan: Plan,
        body: dict[str, Any],
        news: asyncio.Queue[tuple[int, Piece | Exception]],
    ) -> None:
        try:
            async for piece in self._pieces(http, plan, body):
                await news.put((number, piece))
        except HotlineError as error:
            await news.put((number, error))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            log.warning("the upstream server failed: %s", error)
            await news.put(
                (number, UnavailableError("the upstream server is restarting", next="try again in a second"))
            )

    async def _pieces(self, http: httpx.AsyncClient, plan: Plan, body: dict[str, Any]) -> AsyncIterator[Piece]:
        text, finish = "", ""
        async with http.stream("POST", "/v1/completions", json=body) as response:
            if not response.is_success:
                raise UnavailableError("the upstream server refused the request", found=f"HTTP {response.status_code}")
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[len("data: ") :])
                if "error" in chunk:
                    raise UnavailableError("the upstream server failed", next="try again in a second")
                for choice in chunk["choices"]:
                    said, finish = choice.get("text") or "", choice.get("finish_reason") or finish
                    text += said
                    if said:
                        yield Piece(said, ())
        if not finish:
            raise UnavailableError("the upstream server broke off", next="try again in a second")
        ended: Finish = "length" if finish == "length" else "stop"
        yield Piece("", await asyncio.to_thread(self._scored, plan, text, ended), ended)

    def _scored(self, plan: Plan, text: str, finish: Finish) -> tuple[Token, ...]:
        """The answer's tokens with the probabilities that the replica's own copy gives them."""
        import torch

        from hotline.families import answer_rows

        numbers = list(self._chat.tokenizer(text, add_special_tokens=False)["input_ids"])
        numbers += [self._chat.end] if finish == "stop" else []
        if not numbers:
            return ()
        with torch.inference_mode():
            [shares] = answer_rows.shares(self._writer, [list(plan.prompt)], [numbers])
        return tuple(Token(n, math.log(max(share, 1e-30))) for n, share in zip(numbers, shares, strict=True))
