"""What a folder of generated calls holds: hours, words, voices, and whether the test split was seen in training."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Summary:
    """Hours, clips, callers and timbres by split; clips and their mean length in seconds by dialect."""

    hours: dict[str, float]
    clips: dict[str, int]
    speakers: dict[str, int]
    voices: dict[str, int]
    dialects: dict[str, int]
    seconds: dict[str, float]
    distinct_sentences: int
    characters: int
    """Distinct Chinese characters."""
    words: int
    """Distinct English words."""
    test_sentences_seen: float
    """Share of test sentences that training has, too."""
    test_voices_seen: float
    """Share of the test split's timbres that are heard in training, too."""


def summary(folder: Path) -> Summary:
    """The same as `generate` gave back, read from the folder's table and files."""
    import soundfile

    with (folder / "calls.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return summed(rows, {row["id"]: soundfile.info(folder / row["file"]).duration for row in rows})


def summed(rows: Sequence[Mapping[str, str]], seconds: Mapping[str, float]) -> Summary:
    """The summary of a table's rows; `seconds` by id."""
    by_split, by_dialect = _grouped(rows, "split"), _grouped(rows, "dialect")
    texts = {split: {row["text"] for row in group} for split, group in by_split.items()}
    timbres = {split: {_timbre(row) for row in group} for split, group in by_split.items()}
    every = set().union(*texts.values())
    return Summary(
        hours={split: round(_seconds(group, seconds) / 3600, 3) for split, group in by_split.items()},
        clips={split: len(group) for split, group in by_split.items()},
        speakers={split: len({row["speaker"] for row in group}) for split, group in by_split.items()},
        voices={split: len(heard) for split, heard in timbres.items()},
        dialects={tag: len(group) for tag, group in by_dialect.items()},
        seconds={tag: round(_seconds(group, seconds) / len(group), 2) for tag, group in by_dialect.items()},
        distinct_sentences=len(every),
        characters=len({character for text in every for character in re.findall("[㐀-鿿]", text)}),
        words=len({word.lower() for text in every for word in re.findall("[A-Za-z]+", text)}),
        test_sentences_seen=_seen(texts),
        test_voices_seen=_seen(timbres),
    )


def _grouped(rows: Sequence[Mapping[str, str]], column: str) -> dict[str, list[Mapping[str, str]]]:
    groups: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return dict(groups)


def _timbre(row: Mapping[str, str]) -> str:
    """A speaker is dialect-timbre-pitch-rate."""
    return row["speaker"].split("-")[-3]


def _seconds(group: Sequence[Mapping[str, str]], seconds: Mapping[str, float]) -> float:
    return sum(seconds[row["id"]] for row in group)


def _seen(by_split: Mapping[str, set[str]]) -> float:
    held_out = by_split.get("test", set())
    return len(held_out & by_split.get("train", set())) / max(1, len(held_out))
