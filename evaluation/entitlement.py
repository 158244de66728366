"""What a verdict entitles to: it passed, by this profile and these bars, against the champion now, not too long ago."""

from __future__ import annotations

from datetime import UTC, datetime

from hotline.chain import Chain, Entry
from hotline.errors import RefusedError
from hotline.policy import SitePolicy
from hotline.records import Figure, ModelAddress, Verdict
from hotline.task import Task


def entitled(chain: Chain, site: SitePolicy, task: Task, address: ModelAddress) -> tuple[Entry, Verdict]:
    """The newest verdict on this version, when it entitles to a promotion.

    Raises RefusedError: none, not passed, another profile or other bars, too old, another champion, or other tasks of
    the version that must pass together with this one.
    """
    name, judge = f"{address.line}@{address.version}", f"hotline judge {address.line}"
    newest = next(iter(chain.verdicts(task.name, address.digest)), None)
    if newest is None:
        raise RefusedError(f"no verdict on {name} for {task.name}", expected="a passed verdict", next=judge)
    entry, verdict = newest
    refuse_unpassed(entry, verdict, site)
    refuse_outdated(entry, verdict, site, task)
    refuse_alone(chain, site, verdict)
    champion = chain.champion(task.name)
    now = champion.record.model.digest if champion else None
    if verdict.previous_champion != now:
        raise RefusedError(
            f"the verdict on {name} is stale: it was reached against another champion",
            where=f"ledger entry {entry.seq}",
            found=f"judged against {(verdict.previous_champion or 'no champion')[:12]}",
            expected=f"the champion now, {(now or 'none')[:12]}",
            next=judge,
        )
    return newest


def refuse_unpassed(entry: Entry, verdict: Verdict, site: SitePolicy) -> None:
    """Raises RefusedError for a verdict that did not pass, or that passed the bars of another profile."""
    name, judge = f"{verdict.model.line}@{verdict.model.version}", f"hotline judge {verdict.model.line}"
    if verdict.profile != site.profile:
        raise RefusedError(
            f"a {verdict.profile} verdict at a {site.profile} site entitles to nothing: {name}",
            where=f"ledger entry {entry.seq}",
            found=verdict.profile,
            expected=f"{site.profile} (policy/site.yaml)",
            next=judge,
        )
    if verdict.outcome != "passed":
        short = [f"{f.bar}{_where(f.figure)}: {f.reason}" for f in verdict.findings if f.outcome == verdict.outcome]
        raise RefusedError(
            f"the verdict on {name} is: {verdict.outcome}",
            where=f"ledger entry {entry.seq}",
            found="; ".join(short) or "no finding passed",
            expected="passed",
            next="label more test rows, or train a better candidate and hotline judge it",
        )


def refuse_outdated(entry: Entry, verdict: Verdict, site: SitePolicy, task: Task) -> None:
    """Raises RefusedError for a verdict under bars that are not the declared ones any more, or past the policy's days.

    A verdict from before bars were recorded does not say which they were, and is let through.
    """
    name, judge = f"{verdict.model.line}@{verdict.model.version}", f"hotline judge {verdict.model.line}"
    bars, now = verdict.evidence.bars, task.bars_digest(site.profile)
    if bars is not None and bars != now:
        raise RefusedError(
            f"the verdict on {name} was reached under other bars than {task.name} declares now",
            where=f"ledger entry {entry.seq}",
            found=f"bars {bars[:12]}",
            expected=f"bars {now[:12]}",
            next=judge,
        )
    ends = site.verdict_ends(verdict.time)
    if ends is not None and datetime.now(UTC) > ends:
        raise RefusedError(
            f"the verdict on {name} has expired",
            where=f"ledger entry {entry.seq}",
            found=f"reached {verdict.time}",
            expected=f"at most {site.verdict_days} days ago (verdict_days in policy/site.yaml)",
            next=judge,
        )


def refuse_alone(chain: Chain, site: SitePolicy, verdict: Verdict) -> None:
    """Raises RefusedError when the version's tasks must pass together and another one has not."""
    lineage, model = verdict.evidence.lineage, verdict.model
    for other in sorted(lineage.declarations.keys() - {verdict.task}) if lineage.together else ():
        _, newest = next(iter(chain.verdicts(other, model.digest)), (None, None))
        if newest is None or (newest.outcome, newest.profile) != ("passed", site.profile):
            raise RefusedError(
                f"the tasks of {model.line}@{model.version} pass together or not at all, and {other} has not passed",
                where="together: true in its recipe",
                found=f"{newest.outcome} ({newest.profile})" if newest else f"no verdict for {other}",
                expected=f"passed ({site.profile})",
                next=f"hotline judge {model.line} --task {other}",
            )


def _where(figure: Figure | None) -> str:
    return f" ({figure.slice} {figure.value})" if figure and figure.slice else ""
