"""Recognisers from scratch on real recordings: digits of an unheard speaker, and syllables in two languages.

    python bench/speech.py --folder FOLDER [--parts digits yue cmn] [--threads 2]

FOLDER holds `fsdd_en_digits_8khz.zip` (Free Spoken Digit Dataset), `yue_syllables_48khz.zip` (jyutnet) and
`cmn_words_syllables.zip` (audio-cmn). Each is imported as an operator would, with the mapping that ships. Digits: each
of the three speakers is left out in turn, generated digits help the other two. Syllables: a random tenth is heard by a
model that learnt the rest, toneless. Prints tables, and as last line one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from rapidfuzz.process import extractOne
from rich.console import Console
from rich.table import Table

from data import calls
from data.ingest import import_table
from data.mapping import load as load_mapping
from data.store import Rows, open_snapshot
from hotline import families
from hotline.audio import Audio
from hotline.settings import Settings
from hotline.task import Answer, Target
from hotline.tasks import find
from pipelines import workspace
from training.fit import fit
from training.recipe import Recipe, parse

ROOT = Path(__file__).resolve().parents[1]
TASK = find("transcription")
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GENERATED_DIGITS = 3000
SOFTEST_DECIBELS = 30
"""Below a clip's loudest place: what is softer at its ends is silence."""
SEED = 7
console = Console()


def recipe(model: dict[str, Any], epochs: int, batch_rows: int) -> Recipe:
    """A recipe as a trainer would write it."""
    content = {
        "name": "bench",
        "task": TASK.name,
        "seed": SEED,
        "model": {
            "architecture": "ctc",
            "stem_channels": 32,
            "subsampling": 4,
            "dialect_weight": 0,
            "beams": 8,
            **model,
        },
        "optimiser": {"learning_rate": 3e-3, "weight_decay": 0.01, "warmup_share": 0.05, "gradient_clip": 5.0},
        "trainer": {"max_epochs": epochs, "batch_rows": batch_rows, "accelerator": "cpu"},
    }
    return parse(content, "bench/speech.py")


def imported(here: Settings, file: Path, mapping: str) -> Rows:
    """All rows of a published set, through the importer."""
    report = import_table(here, TASK, load_mapping(ROOT / "data" / "mappings" / mapping), [file])
    console.print(f"{file.name}: {report.rows_in} in = {report.kept} kept + {report.quarantined} quarantined")
    return open_snapshot(here, TASK).rows()


def chosen(rows: Rows, numbers: Sequence[int], said: Callable[[str], str]) -> Rows:
    """Some of the rows, their texts as `said` gives them."""
    targets = [rows.targets[n].model_copy(update={"text": said(text_of(rows.targets[n]))}) for n in numbers]
    return replace(
        rows,
        ids=[rows.ids[n] for n in numbers],
        inputs=[rows.inputs[n] for n in numbers],
        targets=targets,
        provenance={name: [values[n] for n in numbers] for name, values in rows.provenance.items()},
        clusters=[rows.clusters[n] for n in numbers],
        splits=[rows.splits[n] for n in numbers],
    )


def generated_digits(folder: Path) -> Rows:
    """Digits in espeak-ng's voices and accents, through a telephone."""
    calls.digits(folder, GENERATED_DIGITS, SEED)
    with (folder / "calls.csv").open(encoding="utf-8", newline="") as table:
        lines = list(csv.DictReader(table))
    draw = np.random.default_rng(SEED)
    sounds = [soundfile.read(folder / line["file"], dtype="int16") for line in lines]
    inputs = [TASK.input.model_validate({"audio": closely_cut(*sound, draw)}) for sound in sounds]
    targets = [TASK.target.model_validate({"text": line["text"]}) for line in lines]
    blank = [""] * len(lines)
    return Rows([line["id"] for line in lines], inputs, targets, {"dialect": blank}, blank, blank)


def closely_cut(samples: Any, rate_hz: int, draw: np.random.Generator) -> Audio:
    """Without the silence around it but for up to 40 ms, as the recorded digits are cut."""
    hop = rate_hz // 100
    frames = samples[: len(samples) // hop * hop].astype(float).reshape(-1, hop)
    loudness = 10 * np.log10((frames**2).mean(1) + 1)
    said = np.flatnonzero(loudness > loudness.max() - SOFTEST_DECIBELS)
    start, end = max(0, said[0] - draw.integers(0, 5)), said[-1] + 1 + draw.integers(0, 5)
    return Audio(samples[start * hop : end * hop], rate_hz)


def joined(a: Rows, b: Rows) -> Rows:
    empty: dict[str, list[str]] = {}
    return Rows(
        a.ids + b.ids, a.inputs + b.inputs, a.targets + b.targets, empty, a.clusters + b.clusters, a.splits + b.splits
    )


def heard(task: Recipe, training: Rows, test: Rows, known: Sequence[str]) -> tuple[list[str], list[str]]:
    """What was said, and what a fresh model hears after training: its surest reading that is in the closed list."""
    validation = chosen(training, range(0, len(training), 40), str)
    family, model = fit(task, TASK, None, training, validation)
    answers = families.answer(family, model, test.inputs, 32)
    return [text_of(target) for target in test.targets], [listed(answer, known) for answer in answers]


def text_of(target: Target) -> str:
    return str(getattr(target, "text"))  # noqa: B009


def listed(answer: Answer, known: Sequence[str]) -> str:
    """The first reading that is in the list, or else the entry that is nearest to the best one."""
    readings = [text_of(answer.target), *(text_of(target) for target, _ in answer.alternatives)]
    best = extractOne(readings[0], known)
    return next((reading for reading in readings if reading in known), best[0] if best else "")


def digits(here: Settings, folder: Path, scratch: Path) -> list[float]:
    """Exact-digit accuracy for each left-out speaker."""
    rows = imported(here, folder / "fsdd_en_digits_8khz.zip", "fsdd.yaml")
    helping = generated_digits(scratch / "digits")
    speakers = rows.provenance["caller_id"]
    speeds = [0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3]
    model = {"width": 96, "layers": 3, "pieces": 40, "normalise": "level"}
    task = recipe({**model, "augmentation": {"speed": speeds, "telephone": 0.3}}, 12, 16)
    found = []
    for speaker in sorted(set(speakers)):
        train = chosen(rows, [n for n, s in enumerate(speakers) if s != speaker], lambda text: WORDS[int(text)])
        test = chosen(rows, [n for n, s in enumerate(speakers) if s == speaker], lambda text: WORDS[int(text)])
        said, understood = heard(task, joined(train, helping), test, WORDS)
        found.append(float(np.mean([a == b for a, b in zip(said, understood, strict=True)])))
        console.print(f"  speaker left out: {len(test)} clips, accuracy {found[-1]:.3f}")
    return found


def toneless(text: str) -> str:
    """Syllables in letters, a blank between two; words in characters by their pinyin."""
    from pypinyin import lazy_pinyin

    return " ".join(lazy_pinyin(text.rstrip("0123456789")))


def syllables(here: Settings, file: Path, mapping: str, name: str, epochs: int) -> float:
    """Toneless accuracy on a random tenth, with the commonest confusions. Words of several syllables help to train."""
    rows = imported(here, file, mapping)
    single = [bool(re.fullmatch(r"[a-züv:]+\d?", text_of(target))) for target in rows.targets]
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(single)).tolist()
    tenth = len(order) // 10
    words = np.flatnonzero(np.logical_not(single)).tolist()
    test, train = (chosen(rows, part, toneless) for part in (order[:tenth], [*order[tenth:], *words]))
    task = recipe({"width": 128, "layers": 3, "sample_rate_hz": 16000, "mel_bins": 80}, epochs, 16)
    known = sorted({text_of(target) for target in train.targets if " " not in text_of(target)})
    said, understood = heard(task, train, test, known)
    right = [a == b for a, b in zip(said, understood, strict=True)]
    wrong = Counter(f"{a} → {b or '(nothing)'}" for a, b in zip(said, understood, strict=True) if a != b)
    table = Table(title=f"{name}: {np.mean(right):.3f} of {len(test)} right; commonest confusions")
    table.add_column("said → heard")
    table.add_column("times", justify="right")
    for confusion, times in wrong.most_common(15):
        table.add_row(confusion, str(times))
    console.print(table)
    return float(np.mean(right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["digits", "yue", "cmn"], choices=["digits", "yue", "cmn"])
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    figures: dict[str, float] = {}
    started = time.perf_counter()
    for part in given.parts:
        with tempfile.TemporaryDirectory() as scratch:
            here = workspace.create(Path(scratch) / "site", "bench", "demo", demo_keys=True)
            if part == "digits":
                found = digits(here, given.folder, Path(scratch))
                figures |= {"digits_mean": float(np.mean(found)), "digits_lowest": min(found)}
            elif part == "yue":
                file = given.folder / "yue_syllables_48khz.zip"
                figures["yue_syllables"] = syllables(here, file, "yue_syllables.yaml", "Cantonese syllables", 20)
            else:
                file = given.folder / "cmn_words_syllables.zip"
                figures["cmn_syllables"] = syllables(here, file, "cmn_syllables.yaml", "Mandarin syllables", 45)
    figures["minutes"] = (time.perf_counter() - started) / 60
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
