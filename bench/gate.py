"""How often the gate errs: simulated candidate/champion pairs through its own code, and what its statistics cost.

    python bench/gate.py [--pairs 5000] [--seed 0] [--resamples 2000] [--processes 2] [--cer 0.08]

How calls and errors are made up, and from which measurements, is told in `bench/gate_pairs.py`. Two designs, with the
bars as shipped: `demo`, the demo's test split (4 dialects, 140 rows, as many callers with as many rows each), and
`calls`, 200 calls for each of 4 dialects under the production profile. A pair is decided as the gate decides
(evaluation.weighing, evaluation.findings), with another bootstrap seed per 50 pairs.

Prints tables, and as last line a JSON object. `pass_worse`, `pass_identical` and `false_regression` are the worse of
both designs. `power` is, in the design `calls`, the worse of 0.8 points more errors in one dialect and in all: of
not being passed and being told why, by a failed bar or a named regression. The columns `failed`, which is stricter, and
`passed`, whose opposite is looser, stand beside it. Seconds are of the clock: nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
from gate_pairs import BLOCK, block, designs, scenarios, shape
from rich.console import Console
from rich.table import Table

from evaluation.measure import Part, weigh
from evaluation.resampling import RESAMPLES, resample
from evaluation.statistics import as_pair, paired
from hotline.spoken_scores import cer
from hotline.task import Answer
from hotline.tasks.speech.transcription import Transcript

console = Console()
CALLERS = (8, 12, 20, 40, 80)
Rates = dict[str, dict[str, dict[str, float]]]
"""By design and scenario: how often what came of it."""


def rates(given: argparse.Namespace) -> Rates:
    found: Rates = {}
    firsts = range(0, given.pairs, BLOCK)
    with ProcessPoolExecutor(given.processes) as pool:
        for design in designs(given):
            console.print(shape(design, given))
            for name, harm in scenarios(design).items():
                said: Counter[str] = Counter()
                for each in pool.map(partial(block, design, harm), firsts, repeat(given)):
                    said += each
                shares = {what: count / given.pairs for what, count in said.items()}
                found.setdefault(design.name, {})[name] = shares
    return found


def missed(callers: int, trials: int, seed: int) -> tuple[float, float]:
    """How often 95 % intervals of a difference of 0 over so few callers of 4 rows miss it: ours, plain percentiles."""
    draw, clusters = np.random.default_rng([seed, callers]), np.repeat(np.arange(callers), 4)
    ours = plain = 0
    for number in range(trials):
        apart = np.repeat(draw.normal(0, 1, callers), 4) + draw.normal(0, 1, 4 * callers)
        score, nothing, table = as_pair(0 * apart, apart, None)
        found = paired(nothing, table, clusters, score=score, seed=number % BLOCK)
        ours += not found.low <= 0 <= found.high
        ((_, drawn),) = resample([(score, table)], clusters, seed=number % BLOCK)
        low, high = np.percentile(drawn, [2.5, 97.5])
        plain += not low <= 0 <= high
    return ours / trials, plain / trials


def bootstrap(rows: int, resamples: int) -> dict[str, float]:
    """Seconds and peak GiB of this process for both systems' intervals and differences over 4 columns of 10 values."""
    draw = np.random.default_rng(0)
    units = draw.integers(5, 40, rows)
    a, b = (np.column_stack([draw.binomial(units, p) for p in (0.05, 0.02, 0.01)] + [units]) for _ in range(2))
    over = [Part(None, None, np.arange(rows), np.arange(rows))]
    for column in range(4):
        values = draw.integers(0, 10, rows)
        for value in range(10):
            index = np.flatnonzero(values == value)
            over.append(Part(str(column), str(value), index, np.arange(len(index))))
    started, worked = time.perf_counter(), time.process_time()
    weigh(
        {"candidate": cer, "champion": cer},
        {"candidate": b, "champion": a},
        {"candidate": a},
        over,
        resamples=resamples,
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def costs(given: argparse.Namespace) -> Iterator[tuple[int, dict[str, float]]]:
    """The same in a fresh process each, at half, once and twice the rows."""
    for rows in (given.bootstrap_rows // 2, given.bootstrap_rows, 2 * given.bootstrap_rows):
        resamples = ["--bootstrap-resamples", str(given.bootstrap_resamples)]
        command = [sys.executable, str(Path(__file__)), "--only-bootstrap", str(rows), *resamples]
        yield rows, json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cer_seconds(pairs: int = 100_000, characters: int = 20) -> float:
    """Of one CER over so many utterances, from texts to figure."""
    draw = np.random.default_rng(0)
    letters = draw.integers(0x4E00, 0x9000, (pairs, characters))
    wrong = np.where(draw.random(letters.shape) < 0.08, letters + 1, letters)
    texts = [["".join(map(chr, row)) for row in side.tolist()] for side in (letters, wrong)]
    targets = [Transcript(text=text) for text in texts[0]]
    answers = [Answer(target=Transcript(text=text), confidence=1.0) for text in texts[1]]
    started = time.perf_counter()
    cer(targets, answers)
    return time.perf_counter() - started


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5000, help="per design and scenario")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cer", type=float, default=0.08)
    parser.add_argument("--calls", type=int, default=200, help="per dialect, in the design `calls`")
    parser.add_argument("--utterances", type=float, default=20, help="per call on average, at least one")
    parser.add_argument("--characters", type=float, default=15, help="per utterance on average")
    parser.add_argument("--call-variation", type=float, default=0.4, help="coefficient of variation: calls are hard")
    parser.add_argument("--utterance-variation", type=float, default=0.7, help="the same of utterances")
    parser.add_argument("--system-variation", type=float, default=0.1, help="the same of a system on a call")
    parser.add_argument("--bootstrap-rows", type=int, default=10_000)
    parser.add_argument("--bootstrap-resamples", type=int, default=10_000)
    parser.add_argument("--only-bootstrap", type=int, metavar="ROWS", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = parse()
    if given.only_bootstrap:
        print(json.dumps(bootstrap(given.only_bootstrap, given.bootstrap_resamples)))
        return
    found = rates(given)
    tell_rates(found, given)
    tell_missed({callers: missed(callers, min(given.pairs, 2000), given.seed) for callers in CALLERS})
    measured = dict(costs(given))
    table = Table(title=f"40 slices, {given.bootstrap_resamples} resamples, two systems")
    for heading in ("rows", "seconds", "CPU seconds", "peak GiB"):
        table.add_column(heading, justify="right")
    for rows, cost in measured.items():
        table.add_row(f"{rows}", *(f"{cost[name]:.2f}" for name in ("seconds", "cpu_seconds", "gib")))
    console.print(table)
    every = [scenario for design in found.values() for scenario in design.items()]
    cost = measured[given.bootstrap_rows]
    figures = {
        "pass_worse": max(shares.get("passed", 0) for name, shares in every if "margin" in name),
        "pass_identical": min(shares.get("passed", 0) for name, shares in every if name == "identical"),
        "false_regression": max(shares.get("regression named", 0) for name, shares in every if name == "identical"),
        "power": min(s.get("refused with a reason", 0) for name, s in found["calls"].items() if "points" in name),
        "bootstrap_seconds": cost["seconds"],
        "bootstrap_gib": cost["gib"],
        "cer_seconds": cer_seconds(),
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def tell_missed(found: dict[int, tuple[float, float]]) -> None:
    table = Table("callers", "missed, widened for few callers", "missed, plain percentiles", title="95 % intervals")
    for callers, shares in found.items():
        table.add_row(f"{callers}", *(f"{share:.3f}" for share in shares))
    console.print(table)


def tell_rates(found: Rates, given: argparse.Namespace) -> None:
    columns = ("passed", "insufficient evidence", "failed", "regression named", "refused with a reason")
    table = Table(
        title=f"{given.pairs} pairs each, CER {given.cer:.0%}, seed {given.seed}, {given.resamples} resamples"
    )
    for heading in ("design", "candidate", *columns):
        table.add_column(heading)
    for design, by_scenario in found.items():
        for name, shares in by_scenario.items():
            table.add_row(design, name, *(f"{shares.get(column, 0):.3f}" for column in columns))
    console.print(table)


if __name__ == "__main__":
    main()
