"""Useful tokens per second of fine-tuning: ours against transformers' Trainer, unpacked and packed, and a peer.

    python bench/train_llm.py [--rows 240] [--repeats 5] [--threads 2] [--peer-python PATH]

One tiny Qwen3 from random weights, the same rows with lengths as a hotline has them, 32 bits, AdamW, one epoch. The
Trainer takes micro-batches of four rows, padded; or, packed, sequences of as many tokens as four rows have on average,
with position ids that restart (its padding-free way). Ours packs to the same number of tokens. Each run is a process of
its own; systems take turns, and the median counts. The clock runs between optimiser steps, the first ones left out; a
token is useful when it is no padding. Prints a table with peak memory; the last line is one JSON object.
`--peer-python` is the Python of an environment with LLaMA-Factory; without one, or where it fails, they are null.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import llm_peer
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.optim.optimizer import register_optimizer_step_post_hook

from data.store import Rows
from hotline.families import writer
from hotline.families.writer_options import WriterOptions
from hotline.tasks import find
from training.fit import fit
from training.plan import Plan, Rules
from training.recipe import parse

TASK = find("article_answer")
SIZES = {"width": 256, "layers": 4, "heads": 4, "vocabulary": 8000, "max_tokens": 2048, "max_answer_tokens": 256}
SYSTEMS = ("ours", "trainer, packed", "trainer, default", "peer, packed", "peer, default")
MICRO_BATCH, WARM_STEPS, SEED, RATE = 4, 3, 7, 1e-4
LOG_MEDIAN, LOG_DEVIATION = 5.31, 0.93  # characters of a message: messages_4326.xlsx of the Teddy Cup 2020, problem C
CHARACTERS = "".join(chr(0x4E00 + number) for number in range(2000))


def rows_of(count: int) -> Rows:
    """Documents and answers of random characters; documents as long as 4,326 real messages."""
    draw = np.random.default_rng(SEED)
    lengths = np.clip(draw.lognormal(LOG_MEDIAN, LOG_DEVIATION, count), 20, 1600).astype(int)
    answers = np.clip(draw.lognormal(3.2, 0.6, count), 4, 200).astype(int)

    def text(length: int) -> str:
        return "".join(draw.choice(list(CHARACTERS), length))

    inputs = [TASK.input.model_validate({"document": text(n), "question": text(10)}) for n in lengths.tolist()]
    targets = [TASK.target.model_validate({"text": text(n)}) for n in answers.tolist()]
    ids = [str(number) for number in range(count)]
    return Rows(ids=ids, inputs=inputs, targets=targets, provenance={}, clusters=ids, splits=["train"] * count)


class Watch:
    """When optimiser steps end, and how many useful tokens each had."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.tokens: list[int] = []
        register_optimizer_step_post_hook(lambda *_: self.ends.append(time.perf_counter()))
        from transformers import Qwen3ForCausalLM

        original: Any = Qwen3ForCausalLM.forward

        @functools.wraps(original)
        def counted(model: Any, *given: Any, **named: Any) -> Any:
            if torch.is_grad_enabled():
                mask = named.get("attention_mask")
                padded = mask is not None and mask.ndim == 2
                self.tokens.append(int(mask.sum()) if padded else named["input_ids"].numel())
            return original(model, *given, **named)

        Qwen3ForCausalLM.forward = counted

    def figures(self) -> dict[str, float]:
        """Useful tokens per second after the first steps, and the process's peak memory."""
        seconds = self.ends[-1] - self.ends[WARM_STEPS - 1]
        useful = sum(self.tokens[WARM_STEPS : len(self.ends)])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"tokens_per_second": useful / seconds, "peak_bytes": peak, "steps": len(self.ends), "tokens": useful}


def options() -> WriterOptions:
    return WriterOptions.model_validate({"architecture": "scratch", **SIZES})


def ours(rows: Rows, budget: int) -> dict[str, float]:
    content = {
        "name": "bench",
        "task": TASK.name,
        "seed": SEED,
        "model": {"architecture": "scratch", **SIZES},
        "optimiser": {"learning_rate": RATE, "gradient_clip": 1.0},
        "trainer": {"max_epochs": 1, "budget": budget, "packing": True, "accelerator": "cpu"},
    }
    few = replace(rows, ids=rows.ids[:1], inputs=rows.inputs[:1], targets=rows.targets[:1])
    watch = Watch()
    fit(parse(content, "bench.yaml"), TASK, None, rows, few)
    return watch.figures()


def tokens_of(rows: Rows) -> tuple[Any, list[list[int]], list[list[int]]]:
    """A fresh model, and prompts and answers as tokens."""
    torch.manual_seed(SEED)
    model = writer.create(options(), TASK, None, rows.inputs, rows.targets)
    return model, model.chat.asked(rows.inputs), model.chat.answered(rows.targets)


def trainer(rows: Rows, budget: int, packed: bool) -> dict[str, float]:
    from transformers import Trainer, TrainingArguments

    model, prompts, answers = tokens_of(rows)
    model.model.set_attn_implementation("sdpa")
    each = [{"input_ids": p + a, "labels": [-100] * len(p) + a} for p, a in zip(prompts, answers, strict=True)]
    if packed:
        sizes = [len(row["input_ids"]) for row in each]
        epoch = Plan(sizes, sizes, Rules(budget=budget, packing=True), SEED).epoch(0)
        data: Any = [_joined([each[row] for row in epoch.micro_batch(n).rows]) for n in range(len(epoch))]
    else:
        data = each
    with tempfile.TemporaryDirectory() as scratch:
        how = TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=1 if packed else MICRO_BATCH,
            num_train_epochs=1,
            learning_rate=RATE,
            optim="adamw_torch_fused",
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=SEED,
        )
        collate = _one if packed else functools.partial(_padded, pad=model.chat.pad)
        watch = Watch()
        Trainer(model=model.model, args=how, train_dataset=data, data_collator=collate).train()
    return watch.figures()


def _joined(rows: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Rows as one sequence whose position ids restart; no row's first token is predicted from another row."""
    labels = [label for row in rows for label in (-100, *row["labels"][1:])]
    return {
        "input_ids": [token for row in rows for token in row["input_ids"]],
        "labels": labels,
        "position_ids": [place for row in rows for place in range(len(row["input_ids"]))],
    }


def _one(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([values]) for name, values in rows[0].items()}


def _padded(rows: list[dict[str, list[int]]], pad: int) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, filling: int) -> torch.Tensor:
        return torch.tensor([row[name] + [filling] * (width - len(row[name])) for row in rows])

    mask = torch.tensor([[1] * len(row["labels"]) + [0] * (width - len(row["labels"])) for row in rows])
    return {"input_ids": filled("input_ids", pad), "labels": filled("labels", -100), "attention_mask": mask}


def run_one(system: str, rows: Rows, python: str | None) -> dict[str, float] | None:
    _, prompts, answers = tokens_of(rows)
    budget = MICRO_BATCH * (sum(map(len, prompts)) + sum(map(len, answers))) // len(prompts)
    budget = max(budget, *(len(p) + len(a) for p, a in zip(prompts, answers, strict=True)))
    if system == "ours":
        return ours(rows, budget)
    packed = system.endswith("packed")
    if not system.startswith("peer"):
        return trainer(rows, budget, packed)
    model, *tokens = tokens_of(rows)
    return llm_peer.run(python, model, *tokens, budget if packed else None, MICRO_BATCH, RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-python")
    parser.add_argument("--one", choices=SYSTEMS, help="run that system once, in this process")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        print(json.dumps(run_one(arguments.one, rows_of(arguments.rows), arguments.peer_python)))
        return
    found: dict[str, list[dict[str, float] | None]] = {system: [] for system in SYSTEMS}
    for _ in range(arguments.repeats):
        for system in SYSTEMS:
            found[system].append(_alone(system, arguments))
    report(found)


def _alone(system: str, arguments: argparse.Namespace) -> dict[str, float] | None:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--one", system, "--rows", arguments.rows, "--threads", arguments.threads]
    more = ["--peer-python", arguments.peer_python] if arguments.peer_python else []
    done = subprocess.run(list(map(str, [*command, *more])), stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(found: dict[str, list[dict[str, float] | None]]) -> None:
    """The table and the line of JSON."""
    rates: dict[str, float | None] = {}
    table = Table("system", "useful tokens/s, median", "least to most", "peak memory, MiB", "steps")
    for system, runs in found.items():
        ran = [run for run in runs if run]
        each = [run["tokens_per_second"] for run in ran]
        rates[system] = statistics.median(each) if ran else None
        if ran:
            peak, steps = max(run["peak_bytes"] for run in ran) / 2**20, ran[0]["steps"]
            table.add_row(
                system, f"{rates[system]:.0f}", f"{min(each):.0f}–{max(each):.0f}", f"{peak:.0f}", f"{steps:.0f}"
            )
        else:
            table.add_row(system, "not run", "", "", "")
    Console().print(table)

    def ratio(other: str) -> float | None:
        mine, theirs = rates["ours"], rates[other]
        return round(mine / theirs, 3) if mine and theirs else None

    figures = {
        "vs_trainer_default": ratio("trainer, default"),
        "vs_trainer_packed": ratio("trainer, packed"),
        "peer": "llamafactory" if rates["peer, default"] or rates["peer, packed"] else None,
        "vs_peer_default": ratio("peer, default"),
        "vs_peer_packed": ratio("peer, packed"),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
