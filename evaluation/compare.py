"""Versions side by side: the same test rows, answered in one go, with paired differences to the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from data.store import open_snapshot
from evaluation import answers, leaks
from evaluation.gate import read_lineage
from evaluation.measure import differences, measure
from hotline import registry
from hotline.errors import RefusedError
from hotline.records import Figure, ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from hotline.text import RULES_VERSION, SCORED

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class System:
    """One version: its figures, and its paired differences to the first (empty for the first itself)."""

    address: ModelAddress
    figures: tuple[Figure, ...]
    differences: tuple[Figure, ...]
    note: str | None
    """Why its figures say nothing, such as test rows that it was trained on."""

    @property
    def name(self) -> str:
        return f"{self.address.line}@{self.address.version}"


@dataclass(frozen=True)
class Comparison:
    task: str
    higher_is_better: Mapping[str, bool]
    test_snapshot: str
    test_rows: str
    rows: int
    systems: tuple[System, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: every figure and every difference with its interval."""
        return {
            "task": self.task,
            "test_snapshot": self.test_snapshot,
            "test_rows": self.test_rows,
            "text_rules": {"version": RULES_VERSION, "digest": SCORED.digest},
            "rows": self.rows,
            "systems": [
                {
                    "name": system.name,
                    "digest": system.address.digest,
                    "note": system.note,
                    "figures": [figure.model_dump() for figure in system.figures],
                    "differences": [figure.model_dump() for figure in system.differences],
                }
                for system in self.systems
            ],
        }

    def table(self) -> Table:
        """A line per score and slice value; a difference whose interval excludes zero is green or red."""
        from rich import box
        from rich.table import Table

        first, *others = self.systems
        notes = [escape(f"{system.name}: {system.note}") for system in self.systems if system.note]
        caption = "\n".join([*notes, f"[dim not bold]text rules {RULES_VERSION}, {SCORED.digest[:12]}[/]"])
        table = Table(
            title=f"{self.task}: {self.rows} test rows of snapshot {self.test_snapshot[:12]}, 95 % intervals",
            caption=caption,
            title_justify="left",
            caption_style="bold red",
            box=box.SIMPLE_HEAD,
        )
        for heading in ("score", "slice", "rows", first.name):
            table.add_column(heading, justify="right" if heading == "rows" else "left")
        for system in others:
            table.add_column(system.name)
            table.add_column("difference to the first")
        for number, figure in enumerate(first.figures):
            cells = [figure.score, _slice(figure), str(figure.rows), _said(figure)]
            for system in others:
                difference = system.differences[number]
                cells += [_said(system.figures[number]), self._coloured(difference)]
            table.add_row(*cells)
        return table

    def _coloured(self, difference: Figure) -> str:
        low, high = difference.low, difference.high
        text = _said(difference, sign="+")
        if low is None or high is None or low <= 0 <= high:
            return text
        better = (low > 0) == self.higher_is_better[difference.score]
        return f"[{'green' if better else 'red'}]{text}[/]"


def compare(settings: Settings, task: Task, addresses: Sequence[ModelAddress], *, progress: bool = True) -> Comparison:
    """All versions on the test rows of the task's newest snapshot; the first one is what the others differ from.

    Raises RefusedError for a version of another task or without test rows, IntegrityError for bytes that differ.
    """
    client = registry.connect(settings.tracking_uri)
    snapshot = open_snapshot(settings, task)
    rows = snapshot.rows("test")
    if not addresses or not len(rows):
        raise RefusedError(
            "there is nothing to compare",
            found=f"{len(addresses)} versions, {len(rows)} test rows",
            next=f"hotline versions, hotline data versions {task.name}",
        )
    systems: list[System] = []
    baseline = None
    for address in addresses:
        lineage = read_lineage(registry.fetch(client, address, settings.verified), task, address)
        note = None
        try:
            leaks.refuse_leaks(settings, task, lineage, address, rows)
        except RefusedError as error:  # a comparison entitles to nothing, so it is shown and said
            note = f"{error.what} ({error.found})"
        said = answers.answer_rows(settings, client, task, address, rows.inputs, progress=progress)
        paired = () if baseline is None else differences(task, rows.targets, baseline, said, rows)
        systems.append(System(address, measure(task, rows.targets, said, rows), paired, note))
        baseline = baseline or said
    directions = {name: score.higher_is_better for name, score in task.scores.items()}
    return Comparison(task.name, directions, snapshot.digest, rows.digest, len(rows), tuple(systems))


def _slice(figure: Figure) -> str:
    return escape(f"{figure.slice}={figure.value}") if figure.slice else ""


def _said(figure: Figure, sign: str = "") -> str:
    if figure.estimate is None:
        return "undefined"
    text = f"{figure.estimate:{sign}.3f}"
    # square brackets would be read as markup
    return text if figure.low is None or figure.high is None else f"{text} ({figure.low:.3f}…{figure.high:.3f})"
