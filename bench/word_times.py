"""Word times and hotwords on generated calls of the test split, whose words and places are known.

    python bench/word_times.py --workspace workspace [--calls 60] [--split test] [--version FOLDER]

Sentences of the demo's wordings are spoken by espeak-ng, which tells where each word begins, sent through the telephone
channel, and heard by the workspace's champion of `transcription` (or the version in FOLDER). The last line is one JSON
object: `boundaries`, `word_ms_median`, `word_ms_p90` (absent when the version learnt no word times); with lists of
place names `recall` and `recall_told` (calls whose places are heard right), `cer` and `cer_told`; with lists of names
none of which is said `exchanged` (calls in which a listed name takes the place of what was heard), `grown` (those that
are longer for it), `cer_negative` and `cer_negative_told`.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from data import calls
from data.call_wordings import dialects, names
from data.voices import Mark, speech
from hotline import families, policy, settings, telephone
from hotline.audio import Audio
from hotline.families import transcriber
from hotline.ledger import Ledger
from hotline.task import Answer
from hotline.tasks import find
from hotline.text import scored
from hotline.wishes import NOTHING, Wish, is_word, units

TASK = find("transcription")
SEED, HOURS, LISTED = 11, 2.0, 50
SHIFTED = "cmn-sichuan"
"""Spoken from pinyin: one syllable a character."""
console = Console()


@dataclass(frozen=True)
class Call:
    """A generated call: what was said, where its words begin and end in the sound, and the names of its places."""

    dialect: str
    text: str
    sound: Audio
    starts: dict[int, float]
    ends: dict[int, float]
    """Seconds by the number of a character: of a word's first one, and of its last."""
    places: tuple[str, ...]


def spoken(split: str, count: int) -> Iterator[Call]:
    """`count` calls of each dialect."""
    taken: dict[str, int] = defaultdict(int)
    for clip in calls.plan(HOURS, SEED):
        if clip.split != split or taken[clip.dialect] >= count:
            continue
        taken[clip.dialect] += 1
        said = Audio(speech().say(clip.spoken, clip.voice), speech().sample_rate_hz)
        seed = (SEED, zlib.crc32(clip.id.encode()))
        before = float(np.random.default_rng(seed).uniform(0.05, 0.3, 2)[0])  # as telephone.padded draws it first
        heard = telephone.call(said, clip.channel, dialects()[clip.dialect]["law"], np.random.default_rng(seed))
        text = clip.sentence.text
        places = [text[each.start : each.end] for each in clip.sentence.entities if each.kind == "place"]
        known = tuple(name for name in names(clip.dialect, split) if any(name in place for place in places))
        starts, ends = bounds(text, _characters(clip.spoken, text, clip.dialect), speech().marks(), before)
        yield Call(clip.dialect, text, heard, starts, ends, known)


def _characters(read: str, text: str, dialect: str) -> dict[int, int]:
    """From a character of what the voice reads to one of the transcript."""
    if dialect != SHIFTED:
        return {number: number for number in range(len(text))}
    syllables = [at for at, mark in enumerate(read) if mark.isalpha() and (at == 0 or not read[at - 1].isalpha())]
    return dict(zip(syllables, (at for at, mark in enumerate(text) if mark.isalpha()), strict=False))


def bounds(
    text: str, places: dict[int, int], marks: Sequence[Mark], before: float
) -> tuple[dict[int, float], dict[int, float]]:
    """Where words begin and end; a word ends where the next begins, or its clause ends."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    current: int | None = None
    for mark in marks:
        at = None if mark.character is None else places.get(mark.character)
        if current is not None:
            last = at - 1 if at is not None else _end_of_clause(text, current)
            while last > current and not text[last].isalnum():
                last -= 1
            ends[last] = before + mark.seconds
        if at is not None:
            starts[at] = before + mark.seconds
        current = at
    return starts, ends


def _end_of_clause(text: str, start: int) -> int:
    end = start
    while end + 1 < len(text) and (text[end + 1].isalnum() or text[end + 1] in "' "):
        end += 1
    return end


def errors(call: Call, answer: Answer) -> list[float]:
    """Of every boundary that is known, in seconds, for words that were heard right."""
    spans, at = [], 0
    for unit in units(call.text):
        at = call.text.index(unit, at)
        if is_word(unit):
            spans.append((unit.lower(), at, at + len(unit) - 1))
        at += len(unit)
    heard = [word.text.lower() for word in answer.words]
    found = []
    matches = SequenceMatcher(None, [unit for unit, _, _ in spans], heard, autojunk=False).get_matching_blocks()
    for mine, theirs, size in matches:
        for offset in range(size):
            _, first, last = spans[mine + offset]
            word = answer.words[theirs + offset]
            if first in call.starts:
                found.append(abs(word.start_seconds - call.starts[first]))
            if last in call.ends:
                found.append(abs(word.end_seconds - call.ends[last]))
    return found


def heard(model: Any, said: Sequence[Call], wishes: Sequence[Wish]) -> list[Answer]:
    inputs = [TASK.input.model_validate({"audio": call.sound}) for call in said]
    family: Any = transcriber
    return families.answer(family, model, inputs, 16, wishes)


def text_of(answer: Answer) -> str:
    return str(getattr(answer.target, "text"))  # noqa: B009


def rate(said: Sequence[Call], answers: Sequence[Answer]) -> float:
    pairs = [(scored(call.text), scored(text_of(answer))) for call, answer in zip(said, answers, strict=True)]
    return sum(Levenshtein.distance(*pair) for pair in pairs) / sum(len(truth) for truth, _ in pairs)


def word_times(model: Any, said: Sequence[Call]) -> dict[str, float]:
    """How far words begin and end from where they were spoken."""
    answers = heard(model, said, [Wish(words=True)] * len(said))
    by_dialect: dict[str, list[float]] = defaultdict(list)
    for call, answer in zip(said, answers, strict=True):
        by_dialect[call.dialect] += errors(call, answer)
    every = [1000 * error for found in by_dialect.values() for error in found]
    for dialect, found in by_dialect.items():
        console.print(f"  {dialect:<14}{len(found):>6} boundaries, median {1000 * float(np.median(found)):.0f} ms")
    return {
        "boundaries": len(every),
        "word_ms_median": float(np.median(every)),
        "word_ms_p90": float(np.quantile(every, 0.9)),
    }


def listed(call: Call, split: str, draw: random.Random, told: bool) -> Wish:
    """Up to LISTED names of the dialect that are not said, and, where `told`, those that are."""
    others = [name for name in names(call.dialect, split) if name.lower() not in call.text.lower()]
    return Wish(hotwords=(*(call.places if told else ()), *draw.sample(others, min(LISTED, len(others)))))


def hotwords(model: Any, said: Sequence[Call], split: str) -> dict[str, float]:
    """What lists of names change, with the names that are said, and with others only."""
    draw, placed = random.Random(SEED), [call for call in said if call.places]
    plain, told = heard(model, placed, [NOTHING] * len(placed)), [listed(call, split, draw, True) for call in placed]
    helped = heard(model, placed, told)
    plain_all, wrong = heard(model, said, [NOTHING] * len(said)), [listed(call, split, draw, False) for call in said]
    misled = heard(model, said, wrong)

    def right(answers: Sequence[Answer]) -> float:
        hits = [
            all(name.lower() in text_of(a).lower() for name in c.places) for c, a in zip(placed, answers, strict=True)
        ]
        return float(np.mean(hits))

    changed = list(zip(plain_all, misled, wrong, strict=True))
    new = [
        any(w.lower() in text_of(b).lower() and w.lower() not in text_of(a).lower() for w in wish.hotwords)
        for a, b, wish in changed
    ]
    grown = [
        len(scored(text_of(b))) > len(scored(text_of(a))) and is_new
        for (a, b, _), is_new in zip(changed, new, strict=True)
    ]
    return {
        "calls": len(said),
        "calls_with_places": len(placed),
        "recall": right(plain),
        "recall_told": right(helped),
        "cer": rate(placed, plain),
        "cer_told": rate(placed, helped),
        "exchanged": sum(new),
        "grown": sum(grown),
        "cer_negative": rate(said, plain_all),
        "cer_negative_told": rate(said, misled),
    }


def champion(workspace: Path) -> Path:
    """The folder of the version that answers."""
    here = settings.load(workspace)
    ledger = Ledger(here.ledger_url, policy.load(workspace).site, policy.load_signers(workspace))
    found = ledger.read().champion(TASK.name)
    assert found, "hotline promote a version of transcription"
    return here.verified / found.record.model.digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--version", type=Path)
    parser.add_argument("--calls", type=int, default=60, help="of each dialect")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    given = parser.parse_args()
    model = transcriber.load(given.version or champion(given.workspace), TASK)
    said = list(spoken(given.split, given.calls))
    family: Any = transcriber
    figures = word_times(model, said) if families.abilities(family, model).words else {}
    figures |= hotwords(model, said, given.split)
    for name, value in figures.items():
        console.print(f"  {name:<20}{value:>10.4f}")
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
