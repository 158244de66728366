"""Part of bench/rollout.py: what the shadow costs, whom a canary answers, and how a wrong candidate falls back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rollout_site
from rich.console import Console
from rich.table import Table
from rollout_load import Load, Said

from serving.run import Running

SHADOW_SHARE, CANARY_SHARE = 0.1, 0.05
TASK = rollout_site.TASK.name
TRIED = 2
"""A version that is the champion neither before nor after bench/rollout.py's promotions."""


def until(seen: Callable[[], Any], seconds: float = 300.0) -> None:
    """Wait for that. Raises TimeoutError."""
    give_up = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > give_up:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.05)


def quantile(said: list[Said], q: float) -> float:
    return float(np.quantile([one.ended - one.begun for one in said], q))


def run(site: rollout_site.Site, running: Running, load: Load, window: float, repeats: int, console: Console) -> Any:
    """The figures of the shadow, of the canary, and of a candidate that is wrong on one dialect."""
    shadow = _shadow(site, running, load, window, repeats, console)
    return shadow | _canary(site, running, load, window, console) | _fall(site, running, console)


def _shadow(
    site: rollout_site.Site, running: Running, load: Load, window: float, repeats: int, console: Console
) -> dict[str, Any]:
    """Windows with the same two versions loaded take turns, without and with a share mirrored."""
    found: dict[float, list[float]] = {0.0: [], SHADOW_SHARE: []}
    for _ in range(repeats):
        for share, times in found.items():
            # a share of almost nothing keeps the second version loaded: only the mirroring differs
            entry = site.tries(TRIED, "shadow", share or 1e-9)
            until(lambda entry=entry: _tried(running) == entry.seq)  # type: ignore[misc]
            time.sleep(2)
            begun = time.time()
            time.sleep(window)
            times.append(quantile([one for one in load.said() if begun <= one.begun < begun + window], 0.95))
    site.tries(TRIED, "withdrawn")
    table = Table("mirrored", "p95 of each window, ms")
    for share, times in found.items():
        table.add_row(f"{share:.0%}", ", ".join(f"{1000 * each:.1f}" for each in times))
    console.print(table)
    return {"shadow_p95_ratio": float(np.median(found[SHADOW_SHARE]) / np.median(found[0.0]))}


def _canary(site: rollout_site.Site, running: Running, load: Load, window: float, console: Console) -> dict[str, Any]:
    """The share of new calls that the canary answers, and whether one call was ever answered by two versions."""
    entry = site.tries(TRIED, "canary", CANARY_SHARE)
    until(lambda: _tried(running) == entry.seq)
    begun = time.time()
    time.sleep(6 * window)
    answered: dict[str, set[str]] = {}
    for one in load.said():
        if one.begun >= begun and one.status == 200:
            answered.setdefault(one.call, set()).add(one.digest)
    site.tries(TRIED, "withdrawn")
    theirs = sum(site.versions[TRIED].digest in versions for versions in answered.values())
    share, both = theirs / len(answered), sum(len(versions) > 1 for versions in answered.values())
    console.print(
        f"canary of {CANARY_SHARE:.0%}: {theirs} of {len(answered)} calls ({share:.1%}), {both} by two versions"
    )
    return {"canary_share": share, "canary_mixed_calls": both}


def _fall(site: rollout_site.Site, running: Running, console: Console) -> dict[str, Any]:
    """Seconds from the canary's first call until a candidate that is wrong on Cantonese has fallen back by itself."""
    until(lambda: not running.controller.map.trials)
    entry = site.tries(rollout_site.WRONG, "canary", 0.2)
    until(lambda: _tried(running) == entry.seq)
    begun, events = time.time(), site.settings.state / "rollout" / "events.jsonl"
    until(lambda: events.is_file() and not running.controller.map.trials, 120)
    seconds, event = time.time() - begun, json.loads(events.read_text(encoding="utf-8").splitlines()[-1])
    console.print(f"the candidate that is wrong on Cantonese fell back after {seconds:.1f} s: {event['reason']}")
    return {"fall_back_seconds": seconds}


def _tried(running: Running) -> int | None:
    stage = running.controller.map.trials.get(TASK)
    return stage.route.promotion if stage else None
