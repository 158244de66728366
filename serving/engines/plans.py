"""What an engine for writers is asked for, and what it says while it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hotline.families.generation import Limits
from hotline.families.writer_options import Sampling
from serving.engines.grammar import Grammar

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Penalties:
    """Against repeating: what OpenAI's API calls presence and frequency, of the tokens written so far, and the
    multiplicative one over prompt and answer (Keskar et al. 2019)."""

    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0


@dataclass(frozen=True)
class Plan:
    """One text that is to be written, and how."""

    prompt: Sequence[int]
    limits: Limits
    sampling: Sampling | None = None
    """None: the likeliest token."""
    draw: np.random.Generator | None = None
    """What tokens are drawn with."""
    penalties: Penalties = Penalties()
    bias: Mapping[int, float] = field(default_factory=dict)
    grammar: Grammar | None = None
    stops: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    top: int = 0
    """How many alternatives to tell for every token."""

    @property
    def tokens(self) -> int:
        """What it takes of the memory at most."""
        return len(self.prompt) + self.limits.longest


@dataclass(frozen=True)
class Token:
    """A token that was written: its natural log-probability by the model itself, before bias, grammar or drawing."""

    number: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    """(number, log-probability) of the likeliest ones at its place."""


@dataclass(frozen=True)
class Piece:
    """What was written since the piece before."""

    text: str
    tokens: tuple[Token, ...]
    finish: Finish | None = None
    closed: bool = False
    """Whether the grammar was brought to its end because the tokens ran out."""


def joined(pieces: Sequence[Piece]) -> Piece:
    """Consecutive pieces as one."""
    last = pieces[-1]
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    return Piece("".join(piece.text for piece in pieces), tokens, last.finish, last.closed)
