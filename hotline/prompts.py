"""Prompts: how an input is put to a writer, declared with the task, so that training and serving ask alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from string import Formatter
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

Given = TypeVar("Given", bound=BaseModel)
Message = dict[Literal["role", "content"], str]


@dataclass(frozen=True)
class Prompt:
    """One exchange: what is asked of the writer about an input. Names of input fields stand in braces."""

    user: str
    system: str = ""
    dialogue: str | None = None
    """The input field with the turns before, each with a `role` (user or assistant) and a `text`."""
    refusal: str = ""
    """What the writer writes for an empty text, such as that a document does not say."""

    @property
    def fields(self) -> set[str]:
        """Every input field that the prompt names."""
        named = {name for part in (self.system, self.user) for _, name, _, _ in Formatter().parse(part) if name}
        return named | ({self.dialogue} if self.dialogue else set())

    def messages(self, given: BaseModel) -> list[Message]:
        """System, the turns before, and the question, as chat templates take them."""
        values: dict[str, Any] = {name: getattr(given, name) for name in type(given).model_fields}
        turns = values.pop(self.dialogue) if self.dialogue else ()
        said: list[Message] = [{"role": turn.role, "content": turn.text} for turn in turns]
        before: list[Message] = [{"role": "system", "content": self.system.format(**values)}] if self.system else []
        return [*before, *said, {"role": "user", "content": self.user.format(**values)}]

    def understood(self, messages: Sequence[Mapping[str, Any]], kind: type[Given]) -> Given | None:
        """The input of which `messages` makes exactly these; None when there is none."""
        said = [dict(message) for message in messages]
        if len(said) < 1 + bool(self.system):
            return None
        before, turns, last = said[: bool(self.system)], said[bool(self.system) : -1], said[-1]
        values = _fitted([(self.user, last["content"])] + [(self.system, each["content"]) for each in before])
        if values is None or (turns and not self.dialogue):
            return None
        if self.dialogue:
            values[self.dialogue] = [{"role": each["role"], "text": each["content"]} for each in turns]
        try:
            given = kind.model_validate(values)
        except ValidationError:
            return None
        return given if self.messages(given) == said else None

    def declaration(self) -> dict[str, Any]:
        """The prompt as data: a version is made for one wording."""
        return asdict(self)


def _fitted(pairs: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """The fields' values with which every template reads as its text, and None when there are none."""
    values: dict[str, Any] = {}
    for template, text in pairs:
        pattern, names = "", set[str]()
        for literal, name, _, _ in Formatter().parse(template):
            pattern += re.escape(literal)
            if name:
                pattern += f"(?P={name})" if name in names else f"(?P<{name}>.*)"
                names.add(name)
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found is None:
            return None
        values |= found.groupdict()
    return values
