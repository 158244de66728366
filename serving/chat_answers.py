"""What `POST /v1/chat/completions` answers, by OpenAI's names, and where it comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hotline.task import Task
from serving.bodies import Body, Provenance
from serving.calls import Call

Finished = Literal["stop", "length", "tool_calls"]
Kind = Literal["task", "own"]


class TopLogprob(Body):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(Body):
    content: list[TokenLogprob]
    refusal: None = None


class FunctionCall(Body):
    name: str
    arguments: str


class ToolCall(Body):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(Body):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Body):
    index: int
    message: Message
    logprobs: Logprobs | None = None
    finish_reason: Finished
    closed_early: bool | None = Field(
        None, description="true: the tokens ran out, and the JSON was brought to a valid end"
    )


class Usage(Body):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, prompt: int, written: int) -> Usage:
        return cls(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


class ChatProvenance(Provenance):
    """As of every answer; and how far the verdict, which is about the task's own prompt, reaches this one."""

    prompt: Kind = Field(description="task: the messages are those that the task's prompt makes of an input")
    decoding: Kind = Field(description="task: written as it was judged; own: the request chose otherwise")

    @classmethod
    def by(cls, call: Call, prompt: Kind, decoding: Kind) -> ChatProvenance:
        return cls(**call.provenance.model_dump(), prompt=prompt, decoding=decoding)

    def judged_as(self, task: Task) -> str:
        """The task when this answer is the one that it would give, else `none`."""
        return task.name if self.prompt == self.decoding == "task" else "none"


class ChatCompletion(Body):
    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = Field(description="line@version")
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str = Field(description="The version's digest")
    provenance: ChatProvenance


class FunctionDelta(Body):
    name: str | None = None
    arguments: str | None = None


class ToolDelta(Body):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class Delta(Body):
    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolDelta] | None = None


class ChunkChoice(Body):
    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: Finished | None
    closed_early: bool | None = None


class ChatChunk(Body):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str
