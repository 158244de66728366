"""`hotline cascade`: two registered versions of one task, registered as one version that answers with both."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hotline import digests, families, registry, tasks
from hotline.digests import canonical_json
from hotline.errors import InputError, RefusedError
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress, Origin
from hotline.settings import CODE_ROOT, Settings
from hotline.task import Task

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CODE_PACKAGES = ("hotline",)
LONGEST_NAME = 63
_LINE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def register(
    settings: Settings,
    small: str,
    large: str,
    threshold: float | None = None,
    name: str | None = None,
    task: str | None = None,
    *,
    share: float | None = None,
) -> ModelAddress:
    """The cascade of two registered versions, given as LINE@VERSION, as a candidate of its own.

    In place of a threshold, `share` has it set so that on the classifier's validation split at most that share of rows
    is asked of the writer. The same parts and threshold give back the same version.
    Raises UnknownName for a version that there is not, RefusedError when the parts are no classifier and writer of one
    declared task, IntegrityError for bytes that differ, InputError for a threshold that is no probability, for none or
    two, and for a name that is no line's.
    """
    if (threshold is None) == (share is None):
        raise InputError("a cascade needs one of a threshold and a share", expected="--threshold T, or --share S")
    client = registry.connect(settings.tracking_uri)
    parts = {role: _found(client, named) for role, named in (("small", small), ("large", large))}
    line = _line(name, parts)
    folders = {role: registry.fetch(client, address, settings.verified) for role, (_, address) in parts.items()}
    lineages = {role: _lineage(folder) for role, folder in folders.items()}
    promised = _task(task, parts)
    for role, family in (("small", "classifier"), ("large", "writer")):
        _refuse_other(promised, family, parts[role][1], lineages[role])
    if threshold is None:
        threshold = _threshold(settings, promised, folders["small"], lineages["small"], float(share or 0.0))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lineage = _assembled(folder, folders, threshold, promised, parts, lineages)
        known = registry.registered(client, line, folder)
        if known:
            return known
        origin = parts["small"][1]
        run = client.create_run(client.get_run(origin.run_id).info.experiment_id, run_name=line)
        for key, value in _parameters(lineage, threshold).items():
            client.log_param(run.info.run_id, key, value)
        address = registry.register(client, line, run.info.run_id, folder, {registry.TASK_TAG: promised.name})
        client.set_terminated(run.info.run_id)
    return address


def _found(client: MlflowClient, named: str) -> tuple[list[str], ModelAddress]:
    line, _, version = named.partition("@")
    if not version:
        raise InputError("a cascade is made of versions", found=named, expected="LINE@VERSION", next="hotline versions")
    return registry.address(client, line, version)


def _lineage(folder: Path) -> Lineage:
    return Lineage.model_validate_json((folder / LINEAGE_FILE).read_text(encoding="utf-8"))


def _line(name: str | None, parts: dict[str, tuple[list[str], ModelAddress]]) -> str:
    """The name to register under: its own, for a line's versions are all made alike."""
    lines = [address.line for _, address in parts.values()]
    line = name or "-with-".join(lines)[:LONGEST_NAME]
    if line in lines or not _LINE.fullmatch(line):
        expected = "a line of its own, of small letters, digits, dashes and underscores"
        raise InputError("a cascade cannot have that name", found=line, expected=expected, next="give --name")
    return line


def _task(named: str | None, parts: dict[str, tuple[list[str], ModelAddress]]) -> Task:
    """The one task that both answer. Raises RefusedError when there is none, or several to choose from."""
    answered = [its for its, _ in parts.values()]
    shared = [each for each in answered[0] if each in answered[1] and named in (None, each)]
    if len(shared) != 1:
        raise RefusedError(
            "the parts of a cascade answer one task, and the same",
            found="; ".join(f"{address.line}@{address.version}: {', '.join(its)}" for its, address in parts.values()),
            expected="--task with one that both answer" if shared else "two versions of one task",
            next="hotline versions",
        )
    return tasks.find(shared[0])


def _refuse_other(task: Task, family: str, address: ModelAddress, lineage: Lineage) -> None:
    """Raises RefusedError for a part of another family, or one that was made for another declaration."""
    name, expected = f"{address.line}@{address.version}", digests.of_value(families.by(task, family).declaration())
    if (lineage.family or task.family) != family:
        raise RefusedError(
            f"{name} is no {family}",
            found=f"a {lineage.family or task.family}",
            expected="hotline cascade CLASSIFIER@VERSION WRITER@VERSION",
            next=f"train a recipe of {task.name} with family: {family}",
        )
    if lineage.declarations.get(task.name) != expected:
        raise RefusedError(
            f"{name} was trained for another declaration of {task.name}",
            found=lineage.declarations.get(task.name, "none")[:12],
            expected=expected[:12],
            next=f"hotline train {address.line}",
        )


def _threshold(settings: Settings, task: Task, folder: Path, lineage: Lineage, share: float) -> float:
    """Below it lie the confidences of at most that share of the rows that the classifier was validated on."""
    from data.store import open_snapshot

    if not 0 <= share <= 1:
        raise InputError("the share is one of rows", found=share, expected="0 to 1")
    rows = open_snapshot(settings, task, lineage.snapshot).rows("validation")
    family, model = families.load(folder, task)
    confidences = sorted(answer.confidence for answer in families.answer(family, model, rows.inputs))
    asked = int(share * len(confidences))
    return confidences[asked] if asked < len(confidences) else 1.0


def _assembled(
    folder: Path,
    folders: dict[str, Path],
    threshold: float,
    task: Task,
    parts: dict[str, tuple[list[str], ModelAddress]],
    lineages: dict[str, Lineage],
) -> Lineage:
    """Every file of the version, in `folder`; gives back the lineage that is one of them."""
    from hotline.families import cascade

    plan = cascade.assemble(folders["small"], folders["large"], threshold, folder)
    lineage = Lineage(
        declarations={task.name: digests.of_value(families.by(task, "cascade").declaration())},
        snapshot=lineages["small"].snapshot,
        recipe=digests.of_value(plan.model_dump(mode="json")),
        code=digests.of_code(CODE_ROOT, CODE_PACKAGES),
        base=lineages["large"].base,
        family="cascade",
        parts={
            role: Origin(line=a.line, version=a.version, digest=a.digest, lineage=lineages[role])
            for role, (_, a) in parts.items()
        },
    )
    (folder / LINEAGE_FILE).write_text(canonical_json(lineage.model_dump(mode="json")) + "\n", encoding="utf-8")
    return lineage


def _parameters(lineage: Lineage, threshold: float) -> dict[str, str]:
    """What MLflow shows of it."""
    named = {role: f"{part.line}@{part.version} {part.digest[:12]}" for role, part in lineage.parts.items()}
    return {**named, "threshold": f"{threshold:g}"}
