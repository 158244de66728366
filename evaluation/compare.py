"""Versions side by side: the same test rows, answered in one go, with paired differences to the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from data.store import Rows, open_snapshot
from evaluation import answers, endpoints, leaks
from evaluation.cost import Usage
from evaluation.endpoints import Endpoint
from evaluation.gate import read_lineage
from evaluation.measure import differences, measure
from hotline import registry
from hotline.errors import RefusedError
from hotline.records import Figure, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Task
from hotline.text import RULES_VERSION, SCORED

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class System:
    """One candidate: its figures, and its paired differences to the first (empty for the first itself)."""

    address: ModelAddress | Endpoint
    figures: tuple[Figure, ...]
    differences: tuple[Figure, ...]
    note: str | None
    """Why its figures say nothing, such as test rows that it was trained on."""
    answers: tuple[Answer, ...] = field(default=(), repr=False)
    """One per test row."""
    lineage: Lineage | None = field(default=None, repr=False)
    usage: Usage | None = None
    """What an endpoint's answers took."""

    @property
    def name(self) -> str:
        address = self.address
        return address.title if isinstance(address, Endpoint) else f"{address.line}@{address.version}"

    @property
    def digest(self) -> str | None:
        """Of a version's bytes; an endpoint shows none."""
        return self.address.digest if isinstance(self.address, ModelAddress) else None

    @property
    def heading(self) -> str:
        """Its name, and whether nobody can say which bytes answered."""
        return self.name if self.digest else f"{self.name}, unattested"


@dataclass(frozen=True)
class Comparison:
    task: str
    higher_is_better: Mapping[str, bool]
    test_snapshot: str
    test_rows: str
    rows: int
    systems: tuple[System, ...]
    declared: Task = field(repr=False)
    tested: Rows = field(repr=False)
    """The test rows themselves."""

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
                    "digest": system.digest,
                    "attested": system.digest is not None,
                    "note": system.note,
                    "usage": system.usage.as_dict() if system.usage else None,
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
        for heading in ("score", "slice", "rows", first.heading):
            table.add_column(heading, justify="right" if heading == "rows" else "left")
        for system in others:
            table.add_column(system.heading)
            table.add_column("difference to the first")
        for number, figure in enumerate(first.figures):
            if all(system.figures[number].estimate is None for system in self.systems):
                continue  # no row has what the score is about
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


def compare(
    settings: Settings, task: Task, candidates: Sequence[ModelAddress | Endpoint], *, progress: bool = True
) -> Comparison:
    """All candidates on the test rows of the task's newest snapshot; the first one is what the others differ from.

    Raises RefusedError for a version of another task, without test rows, or when an endpoint leaves one unanswered,
    IntegrityError for bytes that differ.
    """
    snapshot = open_snapshot(settings, task)
    rows = snapshot.rows("test")
    if not candidates or not len(rows):
        raise RefusedError(
            "there is nothing to compare",
            found=f"{len(candidates)} versions, {len(rows)} test rows",
            next=f"hotline versions, hotline data versions {task.name}",
        )
    systems: list[System] = []
    baseline = None
    for candidate in candidates:
        lineage, usage = None, None
        if isinstance(candidate, Endpoint):
            tree = snapshot.tree if task.label_field else None
            said, usage = endpoints.answer_rows(candidate, task, rows.inputs, rows.ids, tree, progress=progress)
            note = candidate.caveat
        else:
            said, note, lineage = _of_version(settings, task, candidate, rows, progress)
        paired = () if baseline is None else differences(task, rows.targets, baseline, said, rows)
        figures = measure(task, rows.targets, said, rows)
        systems.append(System(candidate, figures, paired, note, tuple(said), lineage, usage))
        baseline = baseline or said
    directions = {name: score.higher_is_better for name, score in task.scores.items()}
    return Comparison(
        task.name, directions, snapshot.digest, rows.digest, len(rows), tuple(systems), declared=task, tested=rows
    )


def _of_version(
    settings: Settings, task: Task, address: ModelAddress, rows: Rows, progress: bool
) -> tuple[list[Answer], str | None, Lineage]:
    """A version's answers, why they say nothing, if so, and its lineage: a comparison entitles to nothing."""
    client, note = registry.connect(settings.tracking_uri), None
    lineage = read_lineage(registry.fetch(client, address, settings.verified), task, address)
    try:
        leaks.refuse_leaks(settings, task, lineage, address, rows)
    except RefusedError as error:
        note = f"{error.what} ({error.found})"
    return answers.answer_rows(settings, client, task, address, rows.inputs, progress=progress), note, lineage


def _slice(figure: Figure) -> str:
    return escape(f"{figure.slice}={figure.value}") if figure.slice else ""


def _said(figure: Figure, sign: str = "") -> str:
    if figure.estimate is None:
        return "undefined"
    text = f"{figure.estimate:{sign}.3f}"
    # square brackets would be read as markup
    return text if figure.low is None or figure.high is None else f"{text} ({figure.low:.3f}…{figure.high:.3f})"
