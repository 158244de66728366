"""Label trees: the versioned set of paths a corpus may use, such as 城乡建設/市政/路燈."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hotline import digests
from hotline.errors import InputError

SEPARATOR = "/"
FILE_NAME = "labels.json"
NONE = "无对应条目"
"""The leaf, in a tree that has it, that says that no other one fits."""
AROUND = " \t\r\n\"'`“”‘’「」。."
"""What people and language models write around a label."""


def join(parts: Iterable[str]) -> str:
    """A path from its levels; a slash inside a name becomes a full-width one, empty levels at the end go."""
    cleaned = [part.strip().replace(SEPARATOR, "／") for part in parts]
    while cleaned and not cleaned[-1]:
        cleaned.pop()
    return SEPARATOR.join(cleaned)


def level(path: str, depth: int) -> str:
    """The first `depth` levels of a path."""
    return SEPARATOR.join(path.split(SEPARATOR)[:depth])


def lies_under(path: str, branches: Iterable[str]) -> bool:
    """Whether a path is one of these branches or lies in one."""
    return any(path == branch or path.startswith(branch + SEPARATOR) for branch in branches)


@dataclass(frozen=True)
class LabelTree:
    """The leaves, sorted; the index of a leaf is its class number."""

    leaves: tuple[str, ...]

    @classmethod
    def of(cls, paths: Iterable[str]) -> LabelTree:
        leaves = tuple(sorted({path for path in paths if path}))
        if not leaves:
            raise InputError("the label tree is empty", next="name a tree file in the mapping, or labelled rows")
        return cls(leaves)

    @cached_property
    def index(self) -> dict[str, int]:
        return {leaf: number for number, leaf in enumerate(self.leaves)}

    @property
    def none(self) -> int | None:
        """The class number of the leaf that says that no other one fits; None in a tree without it."""
        return self.index.get(NONE)

    @cached_property
    def digest(self) -> str:
        return digests.of_value(list(self.leaves))

    @cached_property
    def branches(self) -> dict[str, list[int]]:
        """Every path of the tree, leaves too, with the class numbers of the leaves that it stands for."""
        found: dict[str, list[int]] = {}
        for number, leaf in enumerate(self.leaves):
            for depth in range(1, leaf.count(SEPARATOR) + 2):
                found.setdefault(level(leaf, depth), []).append(number)
        return found

    def named(self, text: str) -> str | None:
        """The leaf that a text names, without what stands around it; None when it is no leaf."""
        label = text.strip(AROUND)
        return label if label in self.index else None

    def save(self, folder: Path) -> None:
        (folder / FILE_NAME).write_text(json.dumps(list(self.leaves), ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LabelTree:
        return cls.of(json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
