"""Speech training, useful seconds of audio per second: ours against transformers' Trainer and plain static batches.

    python bench/train_asr.py [--rows 400] [--rounds 5] [--threads 2] [--batch-rows 8] [--longest 30]

One model (FastConformer with CTC), one set of generated sounds with lengths as hotlines have them (log-normal: many
short, few long), one epoch each, in turns; the median counts. The two others have `--batch-rows` rows in a batch:
`grouped` is transformers' Trainer with length grouping, `static` the same Trainer with random batches. Ours fills
micro-batches, padding included, up to a budget of as many seconds as theirs have on average without padding, so that an
optimiser step learns from about as much. Peak memory is the process's high-water mark during the epoch. Prints a table,
and as last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data.store import Rows
from hotline import families
from hotline.audio import Audio
from hotline.families import transcriber
from hotline.tasks import find
from training.fit import fit
from training.recipe import Recipe, parse

TASK = find("transcription")
RATE_HZ = 8000
CHARACTERS = "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后"
CHARACTERS_PER_SECOND = 3
SEED = 7
console = Console()


def sounds(rows: int, shortest: float, longest: float) -> Rows:
    """Noise in bursts, with a random text of a plausible length: what it says does not matter to its speed."""
    draw = np.random.default_rng(SEED)
    seconds = np.clip(draw.lognormal(np.log(4.5), 0.8, rows), shortest, longest)
    seconds[0] = longest
    inputs, targets = [], []
    for length in seconds:
        samples = (draw.normal(0, 3000, int(length * RATE_HZ))).clip(-32768, 32767).astype(np.int16)
        text = "".join(draw.choice(list(CHARACTERS), max(1, int(length * CHARACTERS_PER_SECOND))))
        inputs.append(TASK.input.model_validate({"audio": Audio(samples, RATE_HZ)}))
        targets.append(TASK.target.model_validate({"text": text}))
    blank = [""] * rows
    return Rows([f"r{n}" for n in range(rows)], inputs, targets, {}, blank, blank)


def recipe(budget: int, given: argparse.Namespace) -> Recipe:
    model = {"architecture": "ctc", "width": given.width, "layers": given.layers, "stem_channels": 32}
    content = {
        "name": "bench",
        "task": TASK.name,
        "seed": SEED,
        "model": {**model, "subsampling": 8, "dialect_weight": 0, "augmentation": {"speed": [1.0]}},
        "optimiser": {"learning_rate": 1e-3},
        "trainer": {"max_epochs": 1, "budget": budget, "accelerator": "cpu", "log_steps": 1000},
    }
    return parse(content, "bench/train_asr.py")


class Clock:
    """A logger that keeps the speed that a run tells at the end of its epoch."""

    def __init__(self) -> None:
        from pytorch_lightning.loggers import Logger

        outer = self

        class Kept(Logger):
            name, version = "clock", 0

            def log_hyperparams(self, *_: Any, **__: Any) -> None:
                """Nothing is asked about them."""

            def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
                outer.figures |= metrics

        self.figures: dict[str, float] = {}
        self.logger = Kept()


def ours(rows: Rows, checks: Rows, budget: int, given: argparse.Namespace) -> tuple[float, float]:
    """Useful seconds of audio per second, and the useful ratio."""
    clock = Clock()
    fit(recipe(budget, given), TASK, None, rows, checks, logger=clock.logger)
    figures = clock.figures
    return figures["throughput/audio_seconds_per_second"], figures["throughput/useful_ratio"]


def trainers(rows: Rows, batch_rows: int, strategy: str, given: argparse.Namespace) -> tuple[float, float]:
    """The same of transformers' Trainer, over the same model, the same rows and the same `prepare`."""
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    made = recipe(1, given)
    torch.manual_seed(SEED)
    model = transcriber.create(made.model, TASK, None, rows.inputs, rows.targets)  # type: ignore[arg-type]
    lengths = [families.measured(transcriber, model, [each], [])[0].size for each in rows.inputs]  # type: ignore[arg-type]
    padded: list[int] = []

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": transcriber.loss(self.model, batch)}

    def collate(items: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        numbers = [each["number"] for each in items]
        padded.append(max(lengths[n] for n in numbers) * len(numbers))
        draws = [np.random.default_rng(n) for n in numbers]
        inputs, targets = [rows.inputs[n] for n in numbers], [rows.targets[n] for n in numbers]
        return transcriber.prepare(model, inputs, targets, draws)

    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=batch_rows,
            num_train_epochs=1,
            learning_rate=1e-3,
            optim="adamw_torch_fused",
            train_sampling_strategy=strategy,
            length_column_name="length",
            remove_unused_columns=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=SEED,
        )
        dataset = Dataset.from_dict({"number": list(range(len(rows))), "length": lengths})
        trainer = Trainer(model=Wrapped(), args=arguments, train_dataset=dataset, data_collator=collate)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    return sum(lengths) / families.FRAMES_PER_SECOND / seconds, sum(lengths) / sum(padded)


def measured(run: Callable[[], tuple[float, float]]) -> tuple[float, float, float]:
    """Speed, useful ratio, and the high-water mark in GiB."""
    Path("/proc/self/clear_refs").write_text("5")
    speed, useful = run()
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return speed, useful, int(found[1]) / 2**20 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-rows", type=int, default=8)
    parser.add_argument("--shortest", type=float, default=0.6)
    parser.add_argument("--longest", type=float, default=30.0)
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("--layers", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.INFO)
    rows = sounds(given.rows, given.shortest, given.longest)
    checks = sounds(2, given.shortest, 1.0)
    seconds = max(given.longest, given.batch_rows * float(np.mean([each.audio.seconds for each in rows.inputs])))  # type: ignore[attr-defined]
    budget, batch_rows = int(seconds * families.FRAMES_PER_SECOND), given.batch_rows
    modes: dict[str, Callable[[], tuple[float, float]]] = {
        "ours": lambda: ours(rows, checks, budget, given),
        "grouped": lambda: trainers(rows, batch_rows, "group_by_length", given),
        "static": lambda: trainers(rows, batch_rows, "random", given),
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in modes}
    for _ in range(given.rounds):
        for name, run in modes.items():
            found[name].append(measured(run))
    tell(found, given, seconds)


def tell(found: dict[str, list[tuple[float, float, float]]], given: argparse.Namespace, seconds: float) -> None:
    table = Table(title=f"{given.rows} rows, {seconds:.0f} s per batch or {given.batch_rows} rows, {given.rounds}×")
    for column in ("", "audio s/s", "lowest", "highest", "useful ratio", "peak GiB"):
        table.add_column(column, justify="right")
    speed = {name: statistics.median(each[0] for each in runs) for name, runs in found.items()}
    memory = {name: max(each[2] for each in runs) for name, runs in found.items()}
    for name, runs in found.items():
        every = [each[0] for each in runs]
        useful = statistics.median(each[1] for each in runs)
        values = (speed[name], min(every), max(every), useful, memory[name])
        table.add_row(name, *(f"{value:.2f}" for value in values))
    console.print(table)
    figures = {f"{name}_audio_seconds_per_second": value for name, value in speed.items()}
    figures |= {f"{name}_peak_gib": value for name, value in memory.items()}
    figures |= {"vs_trainer_grouped": speed["ours"] / speed["grouped"], "vs_static": speed["ours"] / speed["static"]}
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
