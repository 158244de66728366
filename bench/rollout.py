"""Promotions, a rollback and killed processes under load, on one live endpoint with versions of a tiny classifier.

    python bench/rollout.py [--clients 50] [--pause 0.5] [--requests 6] [--window 60] [--part PART]

Every client makes call after call: `--requests` requests with one call's id, about `--pause` seconds apart. A quiet
window is followed by three promotions and one rollback; it lasts as long as these take, `--window` seconds at least.
`failed`: requests of both windows that were not answered 200 at the first try. `mixed_calls`: calls that two versions
answered. `p999_ratio`: the 99.9th percentile of response times during the changes by that of the quiet window.

Then, under the same load, the replica that answers, the controller of Ray Serve, the ingress and the actor with the
route map are killed (SIGKILL), one after the other. Clients try again after lost connections and after 503, as
`Retry-After` says, for 60 s at most.
`failed_after_kill`: requests without an answer even so.

Last, a version in the shadow of the champion, mirrored 10 % of the calls, against the same version mirrored none, in
windows that take turns (`shadow_p95_ratio`: of the medians of their 95th percentiles); a canary of 5 % of the calls;
and a canary that answers Cantonese wrongly, until it falls back by itself.

Before all of this, on an endpoint of its own with a larger classifier, four times as many calls as it can answer, for
`--window` seconds: a twentieth of them urgent, the others not (`X-Priority: bulk`). `overload_live_p95_ratio`: of the
urgent ones' 95th percentiles, with and without the others; `recovery_seconds`: how long after the last of the others an
urgent call was still slower than twice the calm percentile; `overload_refused`: the share answered 429.

Prints tables; the last line is one JSON object, null where nothing was measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import rollout_load
import rollout_overload
import rollout_site
import rollout_trials
from rich.console import Console
from rich.table import Table
from rollout_load import Load, Said
from rollout_trials import quantile, until

from serving.replica import Options
from serving.run import Running, start

FIGURES = ("failed", "mixed_calls", "p999_ratio", "recovery_seconds", "shadow_p95_ratio", "failed_after_kill")
KILLED = {
    "replica": "ServeReplica:{app}",
    "controller": "ServeController",
    "ingress": "ServeReplica:ingress",
    "route table": "RouteTable",
}
PARTS = ("overload", "swaps", "kills", "trials")
PORT = 8394
SHADOW_SECONDS = 10.0
"""Of a window with or without a shadow."""
QUIET_SECONDS = 10.0
"""So long every client must have been answered at the first try before the next process is killed."""


def swaps(site: rollout_site.Site, running: Running) -> list[tuple[str, float]]:
    """Three promotions and one rollback, one after the other; what was done, and how long it took to be answered by."""
    done = []
    for number in (2, 3, 4, None):
        begun = time.time()
        entry = site.roll_back() if number is None else site.promote(number)
        until(lambda entry=entry: running.controller.map.routes[rollout_site.TASK.name].promotion == entry.seq)  # type: ignore[misc]
        done.append((f"promotion of version {number}" if number else "rollback", time.time() - begun))
        time.sleep(2)
    return done


def change_under_load(
    site: rollout_site.Site, running: Running, load: Load, window: float, console: Console
) -> dict[str, Any]:
    """The figures of the changes, against a quiet window that is as long."""
    begun = time.time()
    took = swaps(site, running)
    time.sleep(max(0.0, begun + window - time.time()))
    changed = time.time() - begun
    time.sleep(QUIET_SECONDS)
    quiet_from = time.time()
    time.sleep(changed)
    said = load.said()
    during = [one for one in said if begun <= one.begun < begun + changed]
    quiet = [one for one in said if quiet_from <= one.begun < quiet_from + changed]
    table = Table("window", "seconds", "requests", "p50, ms", "p95, ms", "p99.9, ms", "failed")
    for name, rows in (("quiet", quiet), ("changes", during)):
        times = [f"{1000 * quantile(rows, q):.1f}" for q in (0.5, 0.95, 0.999)]
        table.add_row(name, f"{changed:.0f}", str(len(rows)), *times, str(sum(one.tries > 1 for one in rows)))
    console.print(table, *(f"{name}: {seconds:.1f} s" for name, seconds in took), sep="\n")
    both = [one for one in said if one.begun >= begun]
    return {
        "failed": sum(one.tries > 1 or one.status != 200 for one in both),
        "mixed_calls": mixed(both),
        "p999_ratio": quantile(during, 0.999) / quantile(quiet, 0.999),
    }


def mixed(said: list[Said]) -> int:
    """Calls that more than one version answered."""
    versions: dict[str, set[str]] = {}
    for one in said:
        if one.status == 200:
            versions.setdefault(one.call, set()).add(one.digest)
    return sum(len(found) > 1 for found in versions.values())


def kill_under_load(running: Running, load: Load, clients: int, console: Console) -> dict[str, Any]:
    """The figures of killed processes."""
    table = Table("killed", "requests tried again", "without an answer", "longest answer, s")
    begun = time.time()
    for name, process in KILLED.items():
        killed = time.time()
        kill(process.format(app=running.controller.map.routes[rollout_site.TASK.name].app))
        until(lambda killed=killed: time.time() > killed + QUIET_SECONDS and _well(load.said(), clients))  # type: ignore[misc]
        said = [one for one in load.said() if one.ended >= killed]
        again = [one for one in said if one.tries > 1]
        seconds = max(one.ended - one.begun for one in said)
        table.add_row(name, str(len(again)), str(sum(one.status != 200 for one in said)), f"{seconds:.1f}")
    console.print(table)
    said = [one for one in load.said() if one.ended >= begun]
    return {"failed_after_kill": sum(one.status != 200 for one in said)}


def kill(name: str) -> None:
    """SIGKILL to the processes of ours that are called so."""
    found = [each for each in psutil.Process().children(recursive=True) if any(name in word for word in each.cmdline())]
    assert found, name
    for process in found:
        process.kill()


def _well(said: list[Said], clients: int) -> bool:
    """Whether as many requests as there are clients were answered at the first try lately, and no other way."""
    latest = [one for one in said if one.begun > time.time() - QUIET_SECONDS]
    return len(latest) >= clients and all(one.tries == 1 and one.status == 200 for one in latest)


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Every figure that was asked for."""
    place = Path(tempfile.mkdtemp(prefix="bench-rollout-"))
    figures, parts = dict[str, Any](dict.fromkeys(FIGURES)), arguments.part or PARTS
    try:
        if "overload" in parts:
            figures |= rollout_overload.run(place / "overload", arguments.window, arguments.threads, console.print)
        if not set(parts) - {"overload"}:
            return figures
        site = rollout_site.make(place / "site")
        running = start(site.settings, PORT, Options(threads=arguments.threads))
        try:
            with rollout_load.loaded(running.url, arguments.clients, arguments.requests, arguments.pause) as load:
                time.sleep(QUIET_SECONDS)
                if "swaps" in parts:
                    figures |= change_under_load(site, running, load, arguments.window, console)
                if "kills" in parts:
                    figures |= kill_under_load(running, load, arguments.clients, console)
                if "trials" in parts:
                    figures |= rollout_trials.run(site, running, load, SHADOW_SECONDS, arguments.repeats, console)
        finally:
            running.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=6, help="of one call")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between the requests of a call")
    parser.add_argument("--window", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=12, help="of windows with and without a shadow")
    parser.add_argument("--part", choices=PARTS, action="append", help="all when none is named")
    parser.add_argument("--threads", type=int, default=1)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    figures = run(parser.parse_args(), Console())
    print(json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}))


if __name__ == "__main__":
    main()
