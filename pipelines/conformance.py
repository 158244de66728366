"""How far the normaliser agrees with lists of pairs, `口语 => 书面` or the other way round: exact matches per file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotline.errors import InputError
from hotline.text import TextPolicy, present

SEPARATOR = " =>"
DIRECTIONS = {"itn": "spoken → written", "tn": "written → spoken"}


@dataclass(frozen=True)
class Miss:
    """A pair that came out differently."""

    given: str
    expected: str
    found: str


@dataclass(frozen=True)
class FileResult:
    """One file: its pairs, the policy it was read with, and the pairs that came out differently."""

    name: str
    direction: str
    pairs: int
    policy: TextPolicy
    misses: tuple[Miss, ...]

    @property
    def matches(self) -> int:
        return self.pairs - len(self.misses)

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "direction": self.direction,
            "pairs": self.pairs,
            "matches": self.matches,
            "rate": self.matches / self.pairs,
            "policy": self.policy.model_dump(mode="json"),
            "digest": self.policy.digest,
            "misses": [vars(miss) for miss in self.misses],
        }


def examine(folder: Path) -> list[FileResult]:
    """A result per .txt file with pairs in the folders `itn*` (spoken → written) and `tn*` (written → spoken) below.

    Raises InputError when there are none, or a line is no pair.
    """
    found, folder = [], folder.resolve()
    for path in sorted(folder.rglob("*.txt")):
        kind = path.relative_to(folder.parent).parent.name.split("_")[0]
        if kind in DIRECTIONS and (pairs := _pairs(path)):
            found.append(_examine(path.relative_to(folder).as_posix(), kind, pairs, policy_of(path.stem, kind)))
    if not found:
        raise InputError(
            "there are no lists of pairs",
            where=str(folder),
            expected="folders itn… (spoken => written) or tn… (written => spoken) with .txt files",
            next="hotline text conformance FOLDER",
        )
    return found


def rate(results: list[FileResult], direction: str) -> float | None:
    """The share of exact matches over all pairs of one direction; None without pairs."""
    of = [result for result in results if result.direction == direction]
    pairs = sum(result.pairs for result in of)
    return sum(result.matches for result in of) / pairs if pairs else None


def policy_of(name: str, kind: str) -> TextPolicy:
    """What a list expects. The names of WeTextProcessing's own lists say which of its two settings are off."""
    if kind == "tn":
        return TextPolicy(
            script="simplified", digits="spoken", fillers="dropped", spelling="half width", erhua="dropped"
        )
    return TextPolicy(
        digits="written",
        fillers="dropped",
        lone_numbers="disable_standalone_number" not in name,
        lone_digits="disable_0_to_9" not in name,
    )


def _examine(name: str, kind: str, pairs: list[tuple[str, str]], policy: TextPolicy) -> FileResult:
    said = ((given, expected, present(given, policy)) for given, expected in pairs)
    misses = tuple(Miss(given, expected, found) for given, expected, found in said if found != expected)
    return FileResult(name, DIRECTIONS[kind], len(pairs), policy, misses)


def _pairs(path: Path) -> list[tuple[str, str]]:
    pairs = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the list cannot be read", where=str(path), found=error, expected="UTF-8 text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        given, separator, expected = line.partition(SEPARATOR)
        if not separator:
            raise InputError("a line is no pair", where=f"{path}:{number}", found=line, expected="口语 => 书面")
        pairs.append((given.strip(), expected.strip()))
    return pairs
