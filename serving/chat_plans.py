"""From a chat request to what the engine is asked for, and how far that is what was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jinja2 import TemplateError

from hotline.errors import InputError
from hotline.families import generation
from hotline.families.generation import Limits
from hotline.families.writer import Writer
from hotline.families.writer_options import Sampling
from hotline.prompts import Message
from hotline.task import Input
from serving import tool_calls
from serving.chat_answers import Kind
from serving.chat_request import AsJsonSchema, ChatRequest, text_of
from serving.engines.grammar import Grammar, Vocabulary
from serving.engines.plans import Penalties, Plan


@dataclass(frozen=True)
class Planned:
    """What is to be written for one request: a plan for every choice."""

    plans: list[Plan]
    prompt: Kind
    decoding: Kind


class Planner:
    """Plans for one writer."""

    def __init__(self, writer: Writer) -> None:
        self._chat, self._judged = writer.chat, writer.options.root.sampling
        self._size = int(writer.model.config.vocab_size)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self._chat, self._size)

    def plan(self, asked: ChatRequest) -> Planned:
        """Raises InputError that names the field of the request which cannot be honoured."""
        given = None if _told_more(asked) else self._understood(asked)
        prompt = self._chat.asked([given])[0] if given else self._put(asked)
        limits = self._limits(asked, len(prompt), given is not None)
        sampling, grammar, count = self._sampling(asked), self._grammar(asked), asked.n or 1
        seed = int(np.random.default_rng().integers(2**63)) if asked.seed is None else asked.seed % 2**64
        plans = [
            Plan(
                prompt=prompt,
                limits=limits,
                sampling=sampling,
                draw=self._draw(sampling, asked.seed is None, seed, prompt, number),
                penalties=_penalties(asked),
                bias=self._bias(asked),
                grammar=grammar,
                stops=asked.stops,
                top=asked.top_logprobs or 0,
            )
            for number in range(count)
        ]
        drawn = asked.seed is not None and sampling is not None
        chosen = (plans[0].penalties != Penalties(), plans[0].bias, grammar, asked.stops, count > 1, drawn)
        as_judged = sampling == self._judged and not any(chosen) and limits.longest == self._chat.answer_tokens
        return Planned(plans, "task" if given else "own", "task" if as_judged else "own")

    def _understood(self, asked: ChatRequest) -> Input | None:
        """The task's input of which its prompt makes these messages."""
        if any(message.role == "tool" or getattr(message, "tool_calls", None) for message in asked.messages):
            return None
        said: list[Message] = [{"role": each.role, "content": text_of(each.content)} for each in asked.messages]
        return self._chat.understood(said)

    def _put(self, asked: ChatRequest) -> list[int]:
        chat, tools = self._chat, [tool.model_dump(exclude_none=True) for tool in asked.tools or ()]
        tools = [] if asked.tool_choice == "none" else tools
        messages = [_message(each) for each in asked.messages]
        before = []
        if tools and not chat.knows_tools:
            before.append("Tools: " + json.dumps(tools, ensure_ascii=False))
        if isinstance(asked.response_format, AsJsonSchema) and asked.response_format.json_schema.description:
            before.append(asked.response_format.json_schema.description)
        messages = [{"role": "system", "content": text} for text in before] + messages
        if not chat.knows_tools and any(each["role"] == "tool" or "tool_calls" in each for each in messages):
            raise _refused("body.messages", "turns of tools", "turns of system, user and assistant: its template")
        try:
            return chat.put(messages, tools if chat.knows_tools else None)
        except (TemplateError, ValueError, TypeError) as error:
            raise _refused("body.messages", str(error)[:100], "turns that this version's template takes") from error

    def _limits(self, asked: ChatRequest, prompt: int, is_task: bool) -> Limits:
        chat = self._chat
        room = chat.prompt_tokens + chat.answer_tokens - prompt
        if room < 1:
            found, most = f"{prompt} tokens", chat.prompt_tokens + chat.answer_tokens - 1
            raise _refused("body.messages", found, f"at most {most} tokens, with room for an answer")
        longest = asked.longest or (chat.answer_tokens if is_task else room)
        if longest > room:
            field = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
            raise _refused(f"body.{field}", str(longest), f"at most {room} after a prompt of {prompt} tokens")
        limits = chat.limits._replace(longest=longest)
        return limits if is_task else limits._replace(never_first=())

    def _sampling(self, asked: ChatRequest) -> Sampling | None:
        """As it was judged, unless the request says otherwise; a request that shapes a draw has one drawn."""
        shaped = {name: getattr(asked, name) for name in ("top_p", "top_k", "min_p")}
        shaped = {name: value for name, value in shaped.items() if value is not None}
        if asked.temperature == 0:
            return None
        if asked.temperature is None and not shaped:
            return self._judged
        judged = self._judged.model_dump() if self._judged else {"top_p": 1.0}
        return Sampling.model_validate({**judged, "temperature": asked.temperature or 1.0, **shaped})

    def _draw(
        self, sampling: Sampling | None, unseeded: bool, seed: int, prompt: list[int], number: int
    ) -> np.random.Generator | None:
        if sampling is None:
            return None
        if unseeded and sampling == self._judged and not number:
            return generation.draw(sampling.seed, prompt)
        return generation.draw(seed, [*prompt, -1 - number])

    def _grammar(self, asked: ChatRequest) -> Grammar | None:
        try:
            tools = tool_calls.forced(asked)
        except LookupError as error:
            raise _refused("body.tool_choice.function.name", str(error)[:60], "the name of one of the tools") from error
        if tools:
            return self._of_tools(asked, tools)
        if asked.tools and asked.tool_choice != "none" and not self._chooses_tools:
            raise _refused("body.tool_choice", "auto", "required, none or a named tool: its template knows no tools")
        if not asked.forms:
            return None
        if isinstance(asked.response_format, AsJsonSchema):
            schema = asked.response_format.json_schema.schema_
            return self.vocabulary.grammar(schema, "body.response_format.json_schema.schema")
        return self.vocabulary.grammar({"type": "object"}, "body.response_format")

    def _of_tools(self, asked: ChatRequest, tools: list[Any]) -> Grammar:
        for number, tool in enumerate(asked.tools or ()):
            if tool in tools:
                parameters = tool.function.parameters or {}
                self.vocabulary.grammar(parameters, f"body.tools.{number}.function.parameters")
        return self.vocabulary.grammar(tool_calls.schema(tools), "body.tools")

    @property
    def _chooses_tools(self) -> bool:
        return self._chat.knows_tools and tool_calls.START in str(self._chat.tokenizer.chat_template)

    def _bias(self, asked: ChatRequest) -> dict[int, float]:
        found = {}
        for name, bias in (asked.logit_bias or {}).items():
            if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < self._size):
                raise _refused("body.logit_bias", name[:20], f"numbers of tokens, below {self._size}")
            found[int(name)] = bias
        return found


def _told_more(asked: ChatRequest) -> bool:
    """Whether the model reads more than the messages."""
    described = isinstance(asked.response_format, AsJsonSchema) and asked.response_format.json_schema.description
    return bool(described or (asked.tools and asked.tool_choice != "none"))


def _message(message: Any) -> dict[str, Any]:
    """A turn as chat templates take it."""
    role = "system" if message.role == "developer" else message.role
    said: dict[str, Any] = {"role": role, "content": text_of(message.content)}
    calls = getattr(message, "tool_calls", None)
    if calls:
        said["tool_calls"] = [{**call.model_dump(), "function": _function(call.function)} for call in calls]
    return said


def _function(function: Any) -> Mapping[str, Any]:
    """Templates write arguments as JSON themselves."""
    try:
        arguments = json.loads(function.arguments)
    except (ValueError, RecursionError) as error:
        raise _refused("body.messages", "arguments of a tool call", "JSON") from error
    return {"name": function.name, "arguments": arguments}


def _penalties(asked: ChatRequest) -> Penalties:
    return Penalties(asked.presence_penalty or 0.0, asked.frequency_penalty or 0.0, asked.repetition_penalty or 1.0)


def _refused(where: str, found: str, expected: str) -> InputError:
    return InputError(
        "this version cannot answer such a request", where=where, found=found, expected=expected, next="see /docs"
    )
