"""What stands behind the versions of a comparison: the newest verdict on each, its run in MLflow, and its curves."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evaluation.compare import Comparison
from evaluation.endpoints import Endpoint
from hotline import policy, registry
from hotline.ledger import Chain, Ledger
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Bar, Profile

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

MAX_POINTS = 400
"""Per curve; of more, every so many."""
_CURVES = re.compile(r"(train/loss|validation/.+)$")
_PASSWORD = re.compile(r"//[^/@]*@")


@dataclass(frozen=True)
class Background:
    """Of one version. Empty where nothing is known: a version of another site, or a run that is gone."""

    verdict: Mapping[str, Any] | None = None
    champion: bool = False
    run_address: str | None = None
    """Of its page in MLflow, where tracking has an http address."""
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Metrics that were logged at several steps, as (step, value)."""
    last: Mapping[str, float] = field(default_factory=dict)
    """Metrics that were logged once, at the end of training."""


@dataclass(frozen=True)
class Site:
    """Where the comparison was made, and what is demanded there."""

    name: str = ""
    profile: Profile = "demo"


def gather(settings: Settings, comparison: Comparison) -> tuple[Site, list[Background]]:
    """The site, and the background of every system in order. Raises IntegrityError when the ledger does not verify."""
    site = policy.load(settings.workspace)
    chain, client = Ledger.of(settings).read(), registry.connect(settings.tracking_uri)
    found = [
        _background(chain, client, settings.tracking_uri, comparison.task, site.profile, system.address)
        for system in comparison.systems
    ]
    return Site(site.site, site.profile), found


def _background(
    chain: Chain, client: MlflowClient, tracking_uri: str, task: str, profile: Profile, address: ModelAddress | Endpoint
) -> Background:
    from mlflow.exceptions import MlflowException

    if not isinstance(address, ModelAddress):
        return Background()  # an endpoint shows neither bytes nor runs

    verdict, champion = _verdict(chain, task, profile, address), chain.champion(task)
    stands = champion is not None and champion.record.model.digest == address.digest
    try:
        run = client.get_run(address.run_id)
        names = sorted(name for name in run.data.metrics if _CURVES.match(name))
        histories = {name: client.get_metric_history(address.run_id, name) for name in names}
    except MlflowException:
        return Background(verdict, stands)
    points = {name: found for name, history in histories.items() if (found := _points(history))}
    return Background(
        verdict=verdict,
        champion=stands,
        run_address=_run_address(tracking_uri, str(run.info.experiment_id), address.run_id),
        curves={name: _thinned(curve) for name, curve in points.items() if len({step for step, _ in curve}) > 1},
        last={name: curve[-1][1] for name, curve in points.items() if len({step for step, _ in curve}) == 1},
    )


def _points(history: Iterable[Metric]) -> list[tuple[int, float]]:
    """(step, value) in order, without steps that had no row to score."""
    return sorted((each.step, each.value) for each in history if math.isfinite(each.value))


def _verdict(chain: Chain, task: str, profile: Profile, address: ModelAddress) -> dict[str, Any] | None:
    """The newest one for that profile."""
    for entry, verdict in chain.verdicts(task, address.digest):
        if verdict.profile == profile:
            said = verdict.model_dump(mode="json", include={"outcome", "time", "findings", "previous_champion"})
            evidence = {"snapshot": verdict.evidence.test_snapshot, "rows": verdict.evidence.test_rows}
            return {**said, **evidence, "entry": entry.seq, "hash": entry.hash}
    return None


def _run_address(tracking_uri: str, experiment: str, run_id: str) -> str | None:
    if not tracking_uri.startswith(("http://", "https://")):
        return None
    return f"{_PASSWORD.sub('//', tracking_uri).rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def _thinned(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MAX_POINTS of the points, the last one among them."""
    step = -(-len(curve) // MAX_POINTS)
    return [*curve[:-1:step], curve[-1]]


def bars(comparison: Comparison, profile: Profile) -> list[dict[str, Any]]:
    """The bars of that profile as data, in the words of the findings."""
    return [_bar(bar) for bar in comparison.declared.bars.get(profile, ())]


def _bar(bar: Bar) -> dict[str, Any]:
    return {
        "words": bar.words(),
        "score": bar.score,
        "at_least": bar.at_least,
        "at_most": bar.at_most,
        "margin": bar.not_worse_than_champion_by,
        "slice": bar.slice,
    }
