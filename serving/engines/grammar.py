"""Answers that a JSON schema allows, token by token: masks of llguidance, no free whitespace, no escaped characters.

A schema's answer closes in time: near the end of its tokens, it is written along the shortest way to a valid end.
Legend: V vocabulary.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from numpy.typing import NDArray

from hotline.errors import InputError
from hotline.families.chat import Chat
from serving.engines.json_tokens import JsonTokens, Place

COMPACT: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
KEPT = 32
"""Schemas that stay compiled, those asked for last."""
LOOK_EVERY = 32
"""Tokens between two looks at how far the end is."""
SLACK = 64
"""Tokens left, beside twice the shortest way to the end, below which every step is checked."""
LOOKED_AT = 500
"""Subschemas that are tried to find the one that is refused."""
LOOK_SECONDS = 1.0
"""How long they are tried: each part of an exponential schema may take as long as the whole."""
WITHIN = ("properties", "$defs", "definitions", "patternProperties")
LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "not")


class Vocabulary:
    """A writer's tokens as llguidance knows them. Raises InputError for a tokenizer that it cannot read."""

    def __init__(self, chat: Chat, size: int) -> None:
        if not getattr(chat.tokenizer, "is_fast", False):
            raise InputError("this version's tokenizer knows no grammars", expected="a fast tokenizer (tokenizer.json)")
        self.tokenizer: LLTokenizer = from_tokenizer(chat.tokenizer, size, eos_token=list(chat.ends))
        self.size = size
        self._compiled = lru_cache(KEPT)(self._compile)

    @cached_property
    def tokens(self) -> JsonTokens:
        """What JSON makes of every token."""
        return JsonTokens([self.tokenizer.decode_bytes([number]) for number in range(self.size)])

    def grammar(self, schema: Mapping[str, Any], where: str) -> Grammar:
        """What that schema allows. Raises InputError that names the part of the schema which cannot be held to."""
        matcher = self._compiled(json.dumps(schema))
        if matcher.is_error():
            raise self._refused(schema, where, matcher.get_error())
        return Grammar(self, matcher)

    def _compile(self, schema: str) -> LLMatcher:
        """Where every answer under this schema begins; an application asks with one schema again and again."""
        matcher = self._matcher(schema)
        if not matcher.is_error():
            fill_next_token_bitmask(matcher, allocate_token_bitmask(1, self.size))  # some patterns fail only here
        return matcher

    def _matcher(self, schema: str) -> LLMatcher:
        written = LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT)
        return LLMatcher(self.tokenizer, written, log_level=0)

    def _refused(self, schema: Mapping[str, Any], where: str, found: str) -> InputError:
        shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        give_up = time.monotonic() + LOOK_SECONDS
        for place, part in list(_parts(schema, ()))[1:LOOKED_AT]:
            if time.monotonic() > give_up:
                break
            matcher = self._matcher(json.dumps({**shared, **part}))
            if matcher.is_error():
                where, found = ".".join((where, *place)), matcher.get_error()
                break
        return InputError(
            "answers cannot be held to this schema",
            where=where[:300],
            found=" ".join(found.split())[:200],
            expected="JSON Schema without conditions, contains, uniqueItems and look-around",
            next="leave that part out, and check it in the answer",
        )


class Grammar:
    """What one schema allows; every answer has a guide of its own."""

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher) -> None:
        self._vocabulary, self._matcher = vocabulary, matcher

    def guide(self) -> Guide:
        return Guide(self._vocabulary, self._matcher.deep_copy())


class Guide:
    """One answer's way through its grammar."""

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher, place: Place | None = None) -> None:
        self._vocabulary, self._matcher, self._place = vocabulary, matcher, place or Place()
        self._bits_V = allocate_token_bitmask(1, vocabulary.size)
        self._way: list[int] | None = None
        """The shortest way from here to the end that is known, as of the last look."""
        self._looked = self._pause = LOOK_EVERY
        self.closed = False

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def complete(self) -> bool:
        """Whether what was written is a whole answer."""
        return bool(self._matcher.is_accepting())

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next, (V,). Raises InputError when the grammar has become too large to follow."""
        fill_next_token_bitmask(self._matcher, self._bits_V)
        if self._matcher.is_error():
            raise InputError("the schema is too complex to follow", found=self._matcher.get_error()[:200])
        allowed_V = np.unpackbits(self._bits_V.view(np.uint8), bitorder="little")[: self._vocabulary.size].astype(bool)
        written_V = allowed_V & ~self._vocabulary.tokens.escapes(self._place)
        return written_V if written_V.any() else allowed_V

    def fitting(self, number: int, left: int) -> int:
        """That token, or the next one on the way to the end when it would leave too few; `left` counts this one."""
        if self.closed and self._way:
            return self._way.pop(0)
        self._looked += 1
        need = len(self._way or ())
        if self._way is not None and left > 2 * need + SLACK and self._looked < self._pause:
            return number
        if self._looked >= self._pause:
            self._way, self._looked = self._ahead().shortest(left), 0
            # An end that is out of reach comes no nearer; looking for it would hold up everybody's answers.
            self._pause = LOOK_EVERY if self._way is not None else 2 * self._pause
        if self._way is None or left > 2 * len(self._way) + SLACK:
            return number  # no way that fits: the answer will be cut; or there is room enough
        after = self._ahead()
        after.take(number)
        way = after.still(self._way, left - 1)
        if way is None:
            way = after.shortest(left - 1)
        if way is not None:
            self._way = way
            return number
        self.closed = True
        return self._way.pop(0) if self._way else number

    def take(self, number: int) -> None:
        """That token was written."""
        self._matcher.consume_token(number)
        self._place = self._vocabulary.tokens.after(self._place, number)

    def still(self, way: Sequence[int], limit: int) -> list[int] | None:
        """The end of a way from the step before, when it leads from here to a valid end in at most `limit` tokens."""
        for rest in (way[1:], way):
            whole = [*rest, self._vocabulary.tokenizer.eos_token]
            if len(rest) <= limit and self._matcher.validate_tokens(whole) == len(whole):
                return list(rest)
        return None

    def shortest(self, limit: int) -> list[int] | None:
        """A short way from here to a valid end, in at most `limit` tokens; None when none was found. Uses itself up."""
        way: list[int] = []
        while not self._matcher.is_accepting():
            if len(way) >= limit or self._matcher.is_error():
                return None
            forced = self._matcher.compute_ff_tokens()
            for number in forced or [self._vocabulary.tokens.nearest(self.allowed(), self._place)]:
                self.take(number)
                way.append(number)
        return way if len(way) <= limit else None

    def _ahead(self) -> Guide:
        return Guide(self._vocabulary, self._matcher.deep_copy(), self._place)


def _parts(schema: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The schema itself and then the deepest of its parts before those that hold them, each with its place."""
    if not isinstance(schema, Mapping):
        return
    found: list[tuple[tuple[str, ...], Mapping[str, Any]]] = []
    for name, part in schema.items():
        inner: Sequence[tuple[str, Any]] = ()
        if name in WITHIN and isinstance(part, Mapping):
            inner = [(f"{name}.{key}", each) for key, each in part.items()]
        elif name in LISTED and isinstance(part, list):
            inner = [(f"{name}.{number}", each) for number, each in enumerate(part)]
        elif name in SINGLE:
            inner = [(name, part)]
        for key, each in inner:
            own, *deeper = _parts(each, (*place, key)) or [None]
            found += [*deeper, *([own] if own else [])]
    yield place, schema
    yield from found
