"""What a writer's replica says while it writes; the ingress imports this, and nothing of the replica's."""

from __future__ import annotations

from dataclasses import dataclass

from serving.chat_answers import Kind, TokenLogprob


@dataclass(frozen=True)
class Begun:
    """A chat request will be answered."""

    prompt_tokens: int
    prompt: Kind
    decoding: Kind


@dataclass(frozen=True)
class News:
    """What one choice gained."""

    choice: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] | None
    finish: str | None
    closed: bool
