"""The choices of one chat answer as they are written: whole, or chunk by chunk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from serving import tool_calls
from serving.calls import Call
from serving.chat_answers import (
    ChatChunk,
    ChatCompletion,
    ChatProvenance,
    Choice,
    ChunkChoice,
    Delta,
    FunctionCall,
    FunctionDelta,
    Logprobs,
    Message,
    TokenLogprob,
    ToolCall,
    ToolDelta,
    Usage,
)
from serving.chat_news import News
from serving.chat_request import ChatRequest
from serving.tool_calls import ChosenCalls, ForcedCall


class Written:
    """One choice."""

    def __init__(self, asked: ChatRequest, index: int) -> None:
        self._asked, self._index = asked, index
        self._forced = ForcedCall() if tool_calls.forced(asked) else None
        chooses = asked.tools and asked.tool_choice != "none" and not self._forced
        self._chosen = ChosenCalls() if chooses else None
        self._text, self._calls = "", list[ToolCall]()
        self._logprobs: list[TokenLogprob] = []
        self._finish: Any = None
        self._closed = False

    def take(self, news: News) -> Iterator[ChunkChoice]:
        """What the news adds, as chunks: text, calls of tools, the end."""
        self._logprobs += news.logprobs or ()
        said = Logprobs(content=list(news.logprobs)) if news.logprobs else None
        text, calls = self._split(news)
        self._text += text
        delta = Delta(content=text or None, tool_calls=calls or None)
        if text or calls or said:
            yield ChunkChoice(index=self._index, delta=delta, logprobs=said, finish_reason=None)
        if news.finish:
            self._finish = "tool_calls" if self._calls and news.finish == "stop" else news.finish
            self._closed = news.closed
            yield ChunkChoice(
                index=self._index, delta=Delta(), finish_reason=self._finish, closed_early=news.closed or None
            )

    def whole(self) -> Choice:
        content = None if self._calls and not self._text else self._text
        return Choice(
            index=self._index,
            message=Message(content=content, tool_calls=self._calls or None),
            logprobs=Logprobs(content=self._logprobs) if self._asked.logprobs else None,
            finish_reason=self._finish,
            closed_early=self._closed or None,
        )

    def _split(self, news: News) -> tuple[str, list[ToolDelta]]:
        """The text, and what is a call of a tool."""
        if self._forced:
            return "", self._of_forced(self._forced, news.text)
        if not self._chosen:
            return news.text, []
        text = self._chosen.add(news.text)
        if not news.finish:
            return text, []
        rest, calls = self._chosen.end()
        return text + rest, [self._begun(name, arguments) for name, arguments in calls]

    def _of_forced(self, call: ForcedCall, text: str) -> list[ToolDelta]:
        arguments = call.add(text)
        if call.name is None:
            return []
        if not self._calls:
            return [self._begun(call.name, arguments)]
        known = self._calls[0]
        function = known.function.model_copy(update={"arguments": known.function.arguments + arguments})
        self._calls[0] = known.model_copy(update={"function": function})
        return [ToolDelta(index=0, function=FunctionDelta(arguments=arguments))] if arguments else []

    def _begun(self, name: str, arguments: str) -> ToolDelta:
        call = ToolCall(id=tool_calls.new_id(), function=FunctionCall(name=name, arguments=arguments))
        self._calls.append(call)
        function = FunctionDelta(name=name, arguments=arguments)
        return ToolDelta(index=len(self._calls) - 1, id=call.id, type="function", function=function)


class Choices:
    """All choices of one answer."""

    def __init__(self, asked: ChatRequest, ours: Call, prompt_tokens: int, created: int) -> None:
        self._asked, self._prompt_tokens, self._tokens = asked, prompt_tokens, 0
        self._written = [Written(asked, index) for index in range(asked.n or 1)]
        route = ours.route
        self._named = {
            "id": ours.id,
            "created": created,
            "model": f"{route.line}@{route.version}",
            "system_fingerprint": route.digest,
        }

    def take(self, news: Iterable[News]) -> list[ChunkChoice]:
        """What the news adds, as chunks."""
        found: list[ChunkChoice] = []
        for each in news:
            self._tokens += each.tokens
            found += self._written[each.choice].take(each)
        return found

    def whole(self, provenance: ChatProvenance) -> str:
        """The finished answer as JSON."""
        answer = ChatCompletion(
            **self._named,
            choices=[each.whole() for each in self._written],
            usage=Usage.of(self._prompt_tokens, self._tokens),
            provenance=provenance,
        )
        said = answer.model_dump(mode="json", exclude_none=True)
        for choice in said["choices"]:
            choice["message"].setdefault("content", None)
        return json.dumps(said, ensure_ascii=False)

    def first(self) -> Iterator[str]:
        """The events with which a stream begins: the role of every choice."""
        for index in range(len(self._written)):
            delta = Delta(role="assistant", content="")
            yield self.event(ChunkChoice(index=index, delta=delta, finish_reason=None))

    def event(self, choice: ChunkChoice) -> str:
        """One chunk as a server-sent event."""
        chunk = ChatChunk(**self._named, choices=[choice]).model_dump(mode="json", exclude_none=True)
        chunk["choices"][0].setdefault("finish_reason", None)
        return sent({**chunk, "usage": None} if self._tells_usage else chunk)

    def last(self) -> Iterator[str]:
        """The events with which a stream ends: usage when it is asked for, and the mark of the end."""
        if self._tells_usage:
            usage = Usage.of(self._prompt_tokens, self._tokens)
            yield sent(ChatChunk(**self._named, choices=[], usage=usage).model_dump(mode="json"))
        yield "data: [DONE]\n\n"

    @property
    def _tells_usage(self) -> bool:
        options = self._asked.stream_options
        return bool(options and options.include_usage)


def sent(value: Any) -> str:
    """A server-sent event: JSON has no line breaks, so one line."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
