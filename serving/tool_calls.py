"""Calls of tools: forced ones by a grammar, and those that a model chooses to make in the Hermes form of Qwen's kin."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from serving.chat_request import ChatRequest, NamedTool, Tool

START, END = "<tool_call>", "</tool_call>"
"""How models of the Hermes form frame a call: {"name": ..., "arguments": {...}}."""
ARGUMENTS = ',"arguments":'
EMPTY = {"type": "object", "properties": {}, "additionalProperties": False}
"""Of a tool without parameters."""


def forced(asked: ChatRequest) -> list[Tool] | None:
    """The tools of which one must be called; None when none must. Raises LookupError for a name that is no tool's."""
    if not asked.tools or asked.tool_choice in (None, "none", "auto"):
        return None
    if not isinstance(asked.tool_choice, NamedTool):
        return list(asked.tools)
    name = asked.tool_choice.function.name
    named = [tool for tool in asked.tools if tool.function.name == name]
    if not named:
        raise LookupError(name)
    return named


def schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """What a call of one of them looks like."""
    parts = {str(number): _rooted(tool.function.parameters or EMPTY, number) for number, tool in enumerate(tools)}
    calls = [_call(tool.function.name, number) for number, tool in enumerate(tools)]
    return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), "$defs": parts}


def _call(name: str, number: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{number}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _rooted(part: Any, number: int) -> Any:
    """A schema that lies under a larger one, its references from the new root."""
    if isinstance(part, list):
        return [_rooted(each, number) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: _rooted(each, number) for name, each in part.items()}
    target = found.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        found["$ref"] = f"#/$defs/{number}{target[1:]}"
    return found


def new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


class ForcedCall:
    """Takes a forced call apart as it is written: its name, then its arguments bit by bit."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._held = ""

    def add(self, text: str) -> str:
        """The arguments' text that can be told already."""
        self._held += text
        if self.name is None:
            if ARGUMENTS not in self._held:
                return ""
            before, self._held = self._held.split(ARGUMENTS, 1)
            self.name = str(json.loads(before + "}")["name"])
        told, self._held = self._held[:-1], self._held[-1:]  # the last bracket is the call's own
        return told


class ChosenCalls:
    """Takes calls out of a text that a model wrote as it chose."""

    def __init__(self) -> None:
        self._held = ""
        self._calling = False

    def add(self, text: str) -> str:
        """The text before any call that can be told already."""
        self._held += text
        if self._calling:
            return ""
        place = self._held.find(START)
        self._calling = place >= 0
        kept = next((n for n in range(len(START) - 1, 0, -1) if self._held.endswith(START[:n])), 0)
        told = self._held[: place if self._calling else len(self._held) - kept]
        self._held = self._held[len(told) :]
        return told

    def end(self) -> tuple[str, list[tuple[str, str]]]:
        """The rest: text, and (name, arguments) of every call; what is no call is text."""
        calls = [_read(part.split(END)[0]) for part in self._held.split(START)[1:]]
        if not calls or None in calls:
            return self._held, []
        return "", [call for call in calls if call]


def _read(text: str) -> tuple[str, str] | None:
    try:
        said = json.loads(text)
        return str(said["name"]), json.dumps(said["arguments"], ensure_ascii=False)
    except (ValueError, KeyError, TypeError):
        return None
