"""What the webhooks of a site are told of training and judging: names and outcomes, never a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotline.errors import HotlineError
    from hotline.records import ModelAddress, Verdict
    from hotline.settings import Settings
    from hotline.task import Task
    from hotline.webhooks import Event
    from training.recipe import Recipe


def judged(settings: Settings, verdict: Verdict) -> None:
    """Tell when the gate refuses, and by which bars."""
    if verdict.outcome != "passed":
        missed = sorted({finding.bar for finding in verdict.findings if finding.outcome != "passed"})
        said = f"{verdict.outcome} under {verdict.profile}: {'; '.join(missed)}"
        _tell(settings, "gate_refused", verdict.task, f"{verdict.model.line}@{verdict.model.version}", said)


def not_judged(settings: Settings, task: Task, address: ModelAddress, error: HotlineError) -> None:
    """Tell that a version cannot be judged; why is on the terminal, for it may name a row."""
    _tell(settings, "gate_refused", task.name, f"{address.line}@{address.version}", f"cannot be judged ({error.code})")


def ran(settings: Settings, recipe: Recipe, name: str, left: ModelAddress | BaseException | int) -> None:
    """Tell how a run of a recipe ended: with a version, with an error, or stopped at a step; one rank tells."""
    from training.distributed import leads

    if not leads():
        return
    tasks, version = ", ".join(task.name for task in recipe.find_tasks()), None
    if isinstance(left, BaseException):
        said = f"{name} failed ({type(left).__name__})"
    elif isinstance(left, int):
        said = f"{name} was stopped at step {left}, and can be resumed"
    else:
        version = f"{left.line}@{left.version}"
        said = f"{name} left {version}; next: hotline judge {name}"
    _tell(settings, "run_ended", tasks, version, said)


def _tell(settings: Settings, event: Event, task: str, version: str | None, said: str) -> None:
    from hotline import notices, policy
    from hotline.errors import PolicyError

    try:
        site = policy.load(settings.workspace)
    except PolicyError:
        return  # told by whatever needs the policy
    notices.tell(site, notices.Notice(event=event, site=site.site, task=task, version=version, said=said))
