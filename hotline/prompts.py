"""Prompts: how an input is put to a writer, declared with the task, so that training and serving ask alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from string import Formatter
from typing import Any, Literal

from pydantic import BaseModel

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

    def declaration(self) -> dict[str, Any]:
        """The prompt as data: a version is made for one wording."""
        return asdict(self)
