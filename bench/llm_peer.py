"""LLaMA-Factory over the rows of bench/train_llm.py, in an environment of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotline.families import language_models

TEMPLATE_TOKENS = 16
"""What its own chat template may add to a row."""
PADDED_TO = 8
"""It pads a packed sequence to a multiple of this, but not its position ids."""
CONFIG = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "template": "qwen3_nothink",
    "dataset": "rows",
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "overwrite_output_dir": True,
}


def run(
    python: str | None,
    model: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    sequence: int | None,
    batch_rows: int,
    rate: float,
) -> dict[str, float] | None:
    """Useful tokens per second of one epoch and the peak memory; None, and where its log lies, when it does not run.

    Packed into sequences of `sequence` tokens, one a step, or in batches of rows. Its clock is its own
    `train_runtime`, start included.
    """
    if python is None:
        print("peer: no --peer-python, so none was run", file=sys.stderr)
        return None
    place = Path(tempfile.mkdtemp(prefix="peer-"))
    options = model.options.root
    language_models.save_checkpoint(model.model, model.chat.tokenizer, place / "model", options)
    _write_rows(place, model.chat.tokenizer, prompts, answers)
    named = {"model_name_or_path": str(place / "model"), "dataset_dir": str(place), "output_dir": str(place / "out")}
    filled = -(-((sequence or 0) + TEMPLATE_TOKENS) // PADDED_TO) * PADDED_TO
    longest, rows = (filled, 1) if sequence else (options.max_tokens, batch_rows)
    sizes = {"cutoff_len": longest, "per_device_train_batch_size": rows, "learning_rate": rate}
    config = {**CONFIG, **named, **sizes, "packing": bool(sequence), "neat_packing": bool(sequence)}
    (place / "config.yaml").write_text(json.dumps(config))  # JSON is YAML, and its own JSON reader is broken
    log, results = place / "log.txt", place / "out" / "train_results.json"
    with log.open("w") as stream:
        command = [python, "-m", "llamafactory.cli", "train", str(place / "config.yaml")]
        code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    if code or not results.exists():
        print(f"peer: exit {code}, see {log}", file=sys.stderr)
        return None
    useful = sum(map(len, prompts)) + sum(map(len, answers))
    seconds = json.loads(results.read_text())["train_runtime"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"tokens_per_second": useful / seconds, "peak_bytes": peak, "steps": 0, "tokens": useful}


def _write_rows(
    place: Path, tokenizer: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> None:
    """The rows as LLaMA-Factory reads them."""

    def text(numbers: Sequence[int]) -> str:
        return str(tokenizer.decode(list(numbers), skip_special_tokens=True))

    turns = [{"instruction": text(p), "input": "", "output": text(a)} for p, a in zip(prompts, answers, strict=True)]
    (place / "rows.json").write_text(json.dumps(turns, ensure_ascii=False), encoding="utf-8")
    (place / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
