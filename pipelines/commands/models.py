"""judge, promote, rollback, verify, versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from evaluation.verify import Check
    from hotline.records import Figure, ModelAddress, Verdict
    from hotline.settings import Settings
    from hotline.task import Task

Line = Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")]
OneTask = Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")]
Place = Annotated[
    Literal["here", "ray"], typer.Option("--on", help="Where rows are answered: on this machine, or on a Ray cluster.")
]
Reason = Annotated[str, typer.Option(help="Why; it is written into the ledger.")]
COLOURS = {"passed": "green", "failed": "red", "insufficient evidence": "yellow"}


def add_to(app: typer.Typer) -> None:
    for command in (judge, promote, rollback, verify, versions):
        app.command()(command)


def judge(line: Line, task: OneTask = None, on: Place = "here", json: Json = False) -> None:
    """Judge a candidate on the test split and write a signed verdict, one per task. Interrupted, it goes on."""
    from evaluation.gate import judge as run
    from hotline import settings
    from hotline.errors import HotlineError
    from pipelines import telling

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        try:
            entry, verdict = run(here, each, address, on=on)
        except HotlineError as error:
            telling.not_judged(here, each, address, error)
            raise
        telling.judged(here, verdict)
        if json:
            output.as_json({**verdict.model_dump(mode="json"), "hash": entry.hash, "seq": entry.seq})
            continue
        print_verdict(verdict)
        output.note(f"ledger entry {entry.seq}, {entry.hash[:12]}; next: {_after(here, verdict, line)}", "dim")


def _after(here: Settings, verdict: Verdict, line: str) -> str:
    """The next command: promote what passed, else look at it beside the champion, if there is one."""
    from hotline import policy
    from hotline.ledger import Ledger

    if verdict.outcome == "passed" and policy.load(here.workspace).approvals:
        return f"hotline approve {line} --task {verdict.task} --key NAME --reason WHY, then hotline promote"
    if verdict.outcome == "passed":
        return f"hotline promote {line} --task {verdict.task}"
    champion = Ledger.of(here).read().champion(verdict.task)
    if champion is None:
        return f"edit training/recipes/{line.partition('@')[0]}.yaml or import more rows, then hotline train"
    model = champion.record.model
    return f"hotline compare {model.line}@{model.version} {line}"


def print_verdict(verdict: Verdict) -> None:
    """The findings as a table, the outcome on top."""
    model = verdict.model
    output.note(
        f"{model.line}@{model.version} ({verdict.task}, {verdict.profile}): {verdict.outcome}", COLOURS[verdict.outcome]
    )
    rows = [(finding.outcome, finding.bar, _of(finding.figure), finding.reason) for finding in verdict.findings]
    output.table("", ("finding", "bar", "where", "reason"), rows)
    if verdict.parts:
        output.note("rows answered by " + ", ".join(f"{part}: {count}" for part, count in verdict.parts.items()))
    for test in verdict.tests:
        if test.claimed:
            where = f"{test.slice}={test.value}" if test.slice else "all rows"
            said = f"regressed: {test.score} of {where} by {abs(test.difference):.3f} (p {test.p_holm:.3g} after Holm)"
            output.note(said, "red")
    for want in verdict.settles:
        needed = (
            "no practical number of calls" if want.calls_missing is None else f"{want.calls_missing} more test calls"
        )
        where = f" of {want.slice}={want.value}" if want.slice else ""
        output.note(f"would settle {want.bar}: {needed}{where} ({want.why})", "dim")


def _of(figure: Figure | None) -> str:
    return f"{figure.slice}={figure.value}" if figure and figure.slice else "all"


def promote(line: Line, task: OneTask = None, reason: Reason = "passed its bars", json: Json = False) -> None:
    """Make a version with a passed verdict the champion of its task; of several tasks, in their order."""
    from evaluation.promote import promote as run
    from hotline import settings
    from pipelines import baselines

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        entry = run(here, each, address, reason)
        baselines.attempt(here, each, address)
        if json:
            output.as_json({"seq": entry.seq, "hash": entry.hash, **entry.record.model_dump(mode="json")})
        else:
            output.note(f"{address.line}@{address.version} answers {each.name} (ledger entry {entry.seq})", "green")
    if not json:
        output.note("next: hotline serve", "dim")


def rollback(task: Annotated[str, typer.Argument(help="A served task.")], reason: Reason, json: Json = False) -> None:
    """Make the champion before this one answer again."""
    from evaluation.promote import rollback as run
    from hotline import settings, tasks

    entry = run(settings.load(), tasks.find(task), reason)
    if json:
        output.as_json({"seq": entry.seq, "hash": entry.hash, **entry.record.model_dump(mode="json")})
    else:
        output.note(
            f"{entry.record.model.line}@{entry.record.model.version} answers {task} again (entry {entry.seq})", "green"
        )


def verify(
    what: Annotated[str | None, typer.Argument(help="A task, a recipe's name or LINE@VERSION; default: all.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set exported head, lock file and aliases again, as the ledger says.")
    ] = False,
    json: Json = False,
) -> None:
    """Check the ledger and the champions: bytes, verdicts, approvals, lock file, aliases; or all about one version."""
    from hotline import settings

    checks = _checks(settings.load(), what, repair)
    if json:
        output.as_json([check.as_dict() for check in checks])
    else:
        output.table("", ("", "check", "found"), [(check.mark, check.name, check.found) for check in checks])
    failed = [check for check in checks if not check.ok]
    if failed:
        raise failed[0].error()


def _checks(here: Settings, what: str | None, repair: bool) -> list[Check]:
    from evaluation.verify import verify
    from evaluation.verify_version import verify_version
    from hotline import tasks

    if what is None or what in tasks.TASKS or repair:
        return verify(here, tasks.find(what) if what else None, repair=repair)
    line, _, version = what.partition("@")
    if not version:
        _, address = _from_last_run(here, line)
        line, version = address.line, address.version
    return verify_version(here, line, version)


def versions(
    recipe: Annotated[str | None, typer.Argument(help="One line; default: all.")] = None, json: Json = False
) -> None:
    """The registered versions."""
    from hotline import registry, settings

    found = registry.versions(registry.connect(settings.load().tracking_uri), recipe)
    if json:
        output.as_json(found)
    else:
        rows = [(v["line"], v["version"], v["digest"][:12], v["task"], v["run_id"]) for v in found]
        output.table("", ("line", "version", "digest", "task", "run"), rows)


def resolve(here: Settings, line: str, task: str | None = None) -> tuple[list[Task], ModelAddress]:
    """The version that a recipe's last run left, or LINE@VERSION of the registry, with the tasks that it answers.

    With `task`, that one of them. Raises UnknownName, and RefusedError for an endpoint, which is no version.
    """
    from evaluation.endpoints import refuse
    from hotline import registry, tasks
    from hotline.errors import UnknownName

    refuse(line)

    name, _, version = line.partition("@")
    if version:
        named, address = registry.address(registry.connect(here.tracking_uri), name, version)
        found = [tasks.find(each) for each in named]
    else:
        found, address = _from_last_run(here, name)
    chosen = [each for each in found if task in (None, each.name)]
    if not chosen:
        there = ", ".join(each.name for each in found)
        raise UnknownName(f"{line} does not answer {task}", expected=f"one of {there}", next=f"hotline judge {line}")
    return chosen, address


def _from_last_run(here: Settings, name: str) -> tuple[list[Task], ModelAddress]:
    from hotline.errors import UnknownName
    from hotline.records import ModelAddress
    from training.recipe import load

    left: Path = here.models / name / "model.json"
    recipe = load(here.recipes / f"{name}.yaml")
    if not left.is_file():
        raise UnknownName(f"{name} was not trained yet", where=str(left), next=f"hotline train {name}")
    return recipe.find_tasks(), ModelAddress.model_validate_json(left.read_text(encoding="utf-8"))
