"""plan, train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.records import ModelAddress
    from hotline.settings import Settings
    from training.recipe import Recipe

Named = Annotated[str, typer.Argument(help="A recipe in training/recipes, by its file name without .yaml")]
Place = Literal["here", "ray"]
GIB = 2**30


def add_to(app: typer.Typer) -> None:
    for command in (plan, train):
        app.command()(command)


def train(
    recipe: Named,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest whole checkpoint.")] = False,
    resume_anyway: Annotated[
        bool, typer.Option("--resume-anyway", help="The same, although the snapshot or the recipe changed.")
    ] = False,
    on: Annotated[
        Place, typer.Option("--on", help="Where the ranks run: on this machine, or on a Ray cluster.")
    ] = "here",
    json: Json = False,
) -> None:
    """Train a recipe and register the candidate. SIGTERM writes a checkpoint and ends with status 0."""
    here, resolved = _resolved(recipe)
    from pipelines import telling
    from training.checkpoint import Stopped

    if on == "ray":
        from pipelines.jobs.ray_train import train as run
    else:
        from training.fit import train as run  # type: ignore[assignment]

    try:
        address: ModelAddress | None = run(here, resolved, resume=resume or resume_anyway, anyway=resume_anyway)
    except Stopped as stopped:
        telling.ran(here, resolved, recipe, stopped.step)
        _tell_stopped(recipe, stopped.step, json)
        return
    except Exception as error:
        telling.ran(here, resolved, recipe, error)
        raise
    if address is None:
        return  # another rank of the same run
    telling.ran(here, resolved, recipe, address)
    if json:
        output.as_json(address.model_dump(mode="json"))
    else:
        output.note(f"{address.line}@{address.version}  digest {address.digest[:12]}  run {address.run_id}")
        output.note(f"next: hotline judge {recipe}", "dim")


def _tell_stopped(recipe: str, step: int, json: bool) -> None:
    from training.distributed import leads

    if leads() and json:
        output.as_json({"stopped": step, "resumable": True})
    elif leads():
        output.note(f"stopped at step {step}, where a checkpoint is written")
        output.note(f"next: hotline train {recipe} --resume", "dim")


def plan(
    recipe: Named,
    find_batch: Annotated[
        bool, typer.Option("--find-batch", help="Try how many rows of each length fit into memory.")
    ] = False,
    memory_gib: Annotated[
        float | None, typer.Option(min=0.01, help="Memory that --find-batch may use; default: most of what is free.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a recipe would train, how much of it is padding, and what memory it needs. Nothing is trained."""
    here, resolved = _resolved(recipe)
    from training.planning import outlook

    seen = outlook(here, resolved)
    figures = seen.as_dict()
    found = seen.find_batch(int(memory_gib * GIB) if memory_gib else None) if find_batch else []
    if json:
        output.as_json({**figures, **({"find_batch": found} if find_batch else {})})
        return
    output.table("", ("", ""), _told(figures))
    output.note(f"memory: {figures['memory_how']}", "dim")
    if find_batch:
        _tell_found(found, figures["unit"])
    output.note(f"next: hotline train {recipe}", "dim")


def _told(figures: dict[str, Any]) -> list[tuple[str, str]]:
    unit, bytes_of = figures["unit"], figures["memory_bytes"]
    parts = ", ".join(f"{name} {_size(value)}" for name, value in bytes_of.items() if name != "total")
    return [
        ("rows", f"{figures['rows_in']} in, {figures['rows_dropped']} dropped"),
        (unit, f"{figures['size_in']} in = {figures['size_trained']} trained + {figures['size_dropped']} dropped"),
        ("useful ratio", f"{figures['useful_ratio']:.3f} of {figures['size_padded']} {unit} with padding"),
        (
            "per epoch",
            f"{figures['micro_batches']} micro-batches on {figures['ranks']} ranks, {figures['steps']} steps",
        ),
        ("whole run", f"{figures['total_steps']} steps in {figures['epochs']} epochs"),
        ("parameters", f"{figures['parameters']:,}"),
        ("memory, estimated", f"{_size(bytes_of['total'])} per device: {parts}"),
    ]


def _tell_found(found: list[dict[str, int]], unit: str) -> None:
    rows = [(f["longest"], f["rows"], f["budget"], _size(f["peak_bytes"]), f["rows_there"]) for f in found]
    output.table("", (f"longest row, {unit}", "rows that fit", "budget", "peak", "rows so short"), rows)
    fits = [f["budget"] for f in found if f["rows"] < f["rows_there"]]
    output.note(f"trainer.budget: {min(fits)} fits at every length" if fits else "every row fits into one micro-batch")


def _size(amount: int) -> str:
    return f"{amount / GIB:.2f} GiB" if amount >= GIB else f"{amount / 2**20:.1f} MiB"


def _resolved(recipe: str) -> tuple[Settings, Recipe]:
    """Settings and recipe: a recipe's mistakes are told before torch is imported."""
    from hotline import settings
    from training.recipe import load

    here = settings.load()
    return here, load(here.recipes / f"{recipe}.yaml")
