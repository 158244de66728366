"""The body of `POST /v1/chat/completions`: every field of OpenAI's is here and honoured, or it is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_MESSAGES = 1024
MAX_CHOICES = 8
MAX_STOPS = 4
MAX_TOP = 20
MAX_TOOLS = 128
MAX_DEPTH = 64
"""Of a JSON schema."""
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(Strict):
    type: Literal["text"]
    text: str


Content = str | Annotated[list[TextPart], Field(min_length=1, max_length=MAX_MESSAGES)]


def text_of(content: Content | None) -> str:
    """A message's content as one text."""
    return content or "" if content is None or isinstance(content, str) else "".join(part.text for part in content)


class Said(Strict):
    role: Literal["system", "developer", "user"]
    content: Content


class CalledFunction(Strict):
    name: Annotated[str, Field(pattern=NAME)]
    arguments: str


class ToolCall(Strict):
    id: Annotated[str, Field(max_length=200)]
    type: Literal["function"]
    function: CalledFunction


class Answered(Strict):
    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=MAX_TOOLS)] | None = None


class ToolSaid(Strict):
    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(max_length=200)]


Message = Annotated[Said | Answered | ToolSaid, Field(discriminator="role")]
Schema = dict[str, Any]


class JsonSchema(Strict):
    name: Annotated[str, Field(pattern=NAME, description="A label; it changes nothing")]
    schema_: Annotated[Schema, Field(alias="schema")]
    description: Annotated[str | None, Field(description="Put before the messages, for the model to read")] = None
    strict: Annotated[bool | None, Field(description="Answers are always held to the schema, whatever this says")] = (
        None
    )


class AsText(Strict):
    type: Literal["text"]


class AsJsonObject(Strict):
    type: Literal["json_object"]


class AsJsonSchema(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[AsText | AsJsonObject | AsJsonSchema, Field(discriminator="type")]


class Function(Strict):
    name: Annotated[str, Field(pattern=NAME)]
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function


class NamedFunction(Strict):
    name: Annotated[str, Field(pattern=NAME)]


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatRequest(Strict):
    """A conversation, and how its next turn is to be written. Unknown fields are refused."""

    model: Annotated[str, Field(max_length=300, description="A served writer: its line, `line@version`, or its task")]
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int | None, Field(ge=1, description="The same, by its older name")] = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: Annotated[
        float | None,
        Field(ge=0, le=2, description="0: the likeliest text. Without any field of sampling: as it was judged"),
    ] = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int | None, Field(ge=0, description="Not OpenAI's: only that many tokens; 0 for all")] = None
    min_p: Annotated[
        float | None, Field(ge=0, lt=1, description="Not OpenAI's: at least this share of the likeliest token's")
    ] = None
    seed: Seed | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[
        float | None, Field(gt=0, le=10, description="Not OpenAI's: over prompt and answer; 1 for none")
    ] = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP)] | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(min_length=1, max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: Annotated[
        bool | None, Field(description="Either way at most one call, except by a model's own choice")
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: Annotated[Literal[False] | None, Field(description="Nothing is stored")] = None
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    service_tier: Literal["auto", "default"] | None = None
    reasoning_effort: Annotated[
        Literal["none"] | None, Field(description="Models that reason aloud are told not to, as they were judged")
    ] = None

    @model_validator(mode="after")
    def _together(self) -> ChatRequest:
        wrong = {
            "max_tokens": self.max_tokens and self.max_completion_tokens,
            "top_logprobs": self.top_logprobs is not None and not self.logprobs,
            "stream_options": self.stream_options and not self.stream,
            "tool_choice": self.tool_choice not in (None, "none") and not self.tools,
            "parallel_tool_calls": self.parallel_tool_calls is not None and not self.tools,
            "response_format": self.forms and self.tools and self.tool_choice != "none",
        }
        for field, is_wrong in wrong.items():
            if is_wrong:
                raise PydanticCustomError("together", "{field} goes with {other}", {"field": field, **_OTHER[field]})
        if "" in self.stops:
            raise PydanticCustomError("stop", "a stop text is not empty")
        for where, schema in self.schemas.items():
            if depth(schema) > MAX_DEPTH:
                raise PydanticCustomError("depth", "{where} is nested too deeply", {"where": where})
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def forms(self) -> bool:
        """Whether the answer is to be JSON."""
        return self.response_format is not None and self.response_format.type != "text"

    @property
    def longest(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def schemas(self) -> dict[str, Schema]:
        """Every schema in the request, by its place."""
        found: dict[str, Schema] = {}
        if isinstance(self.response_format, AsJsonSchema):
            found["response_format.json_schema.schema"] = self.response_format.json_schema.schema_
        for number, tool in enumerate(self.tools or ()):
            found[f"tools.{number}.function.parameters"] = tool.function.parameters or {}
        return found


_OTHER: dict[str, dict[str, str]] = {
    "max_tokens": {"other": "max_completion_tokens unset: both say the same"},
    "top_logprobs": {"other": "logprobs: true"},
    "stream_options": {"other": "stream: true"},
    "tool_choice": {"other": "tools"},
    "parallel_tool_calls": {"other": "tools"},
    "response_format": {"other": "no tools, or tool_choice: none"},
}


def depth(value: Any) -> int:
    """How deeply a JSON value is nested."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        holders = [each for each in level if isinstance(each, dict | list)]
        level = [part for each in holders for part in (each.values() if isinstance(each, dict) else each)]
    return deepest
