"""What two ranks on this machine make of twice one rank's speed, and what a run says of it by itself.

    python bench/scaling.py [--hours 0.2] [--repeats 3] [--ranks 2]

The same recipe, DeepSpeed ZeRO-1, one thread per rank, the same rows and rows per rank and step, one and then several
ranks in turn, on generated calls. `efficiency` is the audio seconds per second of all ranks over those of one, divided
by the number of ranks; `stated` what the run logged as `throughput/scaling_efficiency`. They differ by what ranks on
one machine take from each other without waiting: cache and memory bandwidth. Prints a table; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from data import calls
from data.ingest import import_table
from data.mapping import load as load_mapping
from hotline import registry
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import output
from pipelines import workspace as workspaces

MODEL = {"architecture": "ctc", "width": 96, "layers": 2, "heads": 4, "stem_channels": 32, "subsampling": 8}
TRAINER = {"max_epochs": 2, "budget": 6000, "deepspeed": "../deepspeed/zero1.json", "accelerator": "cpu"}
FIGURES = ("audio_seconds_per_second", "share_communication", "scaling_efficiency")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, default=0.2)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--ranks", type=int, default=2)
    told = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = site(Path(folder), told.hours)
        turns = [(1, told.ranks) for _ in range(told.repeats)]
        runs = [(ranks, trained(here, ranks)) for turn in turns for ranks in turn]
    show(runs, told.ranks)


def site(folder: Path, hours: float) -> Settings:
    """A workspace with generated calls."""
    here = workspaces.create(folder, "demo", "demo", demo_keys=True)
    source = here.workspace / "data" / "incoming" / "calls"
    calls.generate(source, hours, 3)
    import_table(here, find("transcription"), load_mapping(here.workspace / "data/mappings/calls.yaml"), [source])
    return here


def trained(here: Settings, ranks: int) -> dict[str, float]:
    """The figures of the last epoch of a run on so many ranks."""
    name = f"ranks{ranks}"
    recipe = {"name": name, "task": "transcription", "seed": 1, "model": MODEL, "optimiser": {"learning_rate": 1e-3}}
    recipe["trainer"] = {**TRAINER, "devices": ranks}
    (here.recipes / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "hotline"), "--workspace", str(here.workspace), "train", name]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    run_id = json.loads((here.models / name / "model.json").read_text(encoding="utf-8"))["run_id"]
    found: dict[str, Any] = registry.connect(here.tracking_uri).get_run(run_id).data.metrics
    return {figure: found.get(f"throughput/{figure}", float("nan")) for figure in FIGURES}


def show(runs: list[tuple[int, dict[str, float]]], ranks: int) -> None:
    """Medians, and the JSON line."""

    def median(wanted: int, figure: str) -> float:
        return statistics.median(found[figure] for number, found in runs if number == wanted)

    rows = [(number, *(median(number, figure) for figure in FIGURES)) for number in (1, ranks)]
    output.table("medians of the last epoch", ("ranks", *FIGURES), rows)
    speed = FIGURES[0]
    efficiency = median(ranks, speed) / median(1, speed) / ranks
    stated = median(ranks, "scaling_efficiency")
    print(json.dumps({"ranks": ranks, "efficiency": round(efficiency, 3), "stated": round(stated, 3)}))


if __name__ == "__main__":
    main()
