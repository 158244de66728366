"""Text as it is written: never half a character, never a replacement for one, and nothing from a stop text on."""

from __future__ import annotations

from collections.abc import Sequence

from hotline.families.chat import BROKEN, Chat


class Text:
    """The text of one answer's tokens, bit by bit."""

    def __init__(self, chat: Chat, stops: Sequence[str]) -> None:
        self._chat, self._stops = chat, stops
        self._numbers: list[int] = []
        self._start = self._done = 0
        """Tokens from `_start` are decoded together, as some tokenizers need; those before `_done` are in `_known`."""
        self._known = self._held = ""
        self.stopped = False

    def add(self, number: int) -> str:
        """What the token adds that can be said already."""
        self._numbers.append(number)
        found = self._chat.decoded(self._numbers[self._start :])
        if found.endswith(BROKEN):
            return ""
        fresh = found[len(self._known) :]
        self._start, self._done = self._done, len(self._numbers)
        self._known = self._chat.decoded(self._numbers[self._start :])
        return self._said(fresh.replace(BROKEN, ""))

    def end(self) -> str:
        """The rest: what waited for more, without bytes that make no character."""
        found = self._chat.decoded(self._numbers[self._start :])
        said = self._said(found[len(self._known) :].replace(BROKEN, ""))
        held, self._held = self._held, ""
        return said + held

    def _said(self, fresh: str) -> str:
        """The text before a stop text, without what may become one."""
        if self.stopped:
            return ""
        held = self._held + fresh
        places = [place for place in map(held.find, self._stops) if place >= 0]
        if places:
            self.stopped, self._held = True, ""
            return held[: min(places)]
        kept = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - kept :]
        return held[: len(held) - kept]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text are the beginning of the stop text."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
