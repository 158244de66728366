"""Every metric of the endpoints, declared once, and counted for all processes of this machine together.

Ray's proxy hands a scrape to one ingress process; what that one has counted is not what the site has. So every process
writes its counts into a memory-mapped file of its own (prometheus_client's multi-process mode), and whoever is asked
adds the files up: about 4 µs a count, no message, and what a killed process had counted stays.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Kind = Literal["counter", "gauge", "histogram"]
Mode = Literal["livesum", "livemin", "livemax"]
FOLDER = Path("watch") / "metrics"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
TEMPO = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
VERSION = ("task", "version")
SIGNAL = (*VERSION, "signal")


@dataclass(frozen=True)
class Declared:
    """One metric. Labels take values of declared lists or of the ledger only, never what callers send."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = VERSION
    buckets: tuple[float, ...] = ()
    mode: Mode = "livesum"
    """How the values of live processes make one."""


COUNTED = (
    Declared("counter", "hotline_requests_total", "HTTP requests, by status", (*VERSION, "status")),
    Declared("histogram", "hotline_request_seconds", "From a request to its whole answer", VERSION, SECONDS),
    Declared("counter", "hotline_answers_total", "Inputs answered, by the answer's dialect", (*VERSION, "dialect")),
    Declared("counter", "hotline_timeouts_total", "Inputs given up because no answer came in time"),
    Declared("histogram", "hotline_answer_confidence", "How sure versions are of answers", VERSION, SHARES),
    Declared("counter", "hotline_audio_seconds_total", "Sound that was answered"),
    Declared("histogram", "hotline_real_time_factor", "Seconds until the answer per second of sound", VERSION, TEMPO),
    Declared("histogram", "hotline_first_token_seconds", "Until the first token of a text", VERSION, SECONDS),
    Declared("histogram", "hotline_inter_token_seconds", "Between two tokens of a text", VERSION, SECONDS),
    Declared("counter", "hotline_tokens_total", "Tokens written"),
    Declared("histogram", "hotline_batch_rows", "Inputs that a version computes at once", VERSION, ROWS),
    Declared("counter", "hotline_compute_seconds_total", "Time in which a replica computed"),
    Declared("gauge", "hotline_computing_rows", "Inputs that are being computed"),
    Declared("gauge", "hotline_resident_bytes", "Files of the model, while it is in a replica's memory"),
    Declared("gauge", "hotline_in_flight", "Calls that are taken and not answered yet", ("task",)),
    Declared("gauge", "hotline_ingress_processes", "Ingress processes alive", ()),
    Declared("gauge", "hotline_route_map", "The oldest route map that an ingress answers by", (), mode="livemin"),
    Declared(
        "gauge", "hotline_controller_heard_timestamp_seconds", "When the controller was last heard", (), mode="livemin"
    ),
)
"""Counted by every process."""
TOLD = (
    Declared(
        "gauge",
        "hotline_served_info",
        "1 for what answers",
        (*VERSION, "role", "digest", "profile", "outcome", "engine"),
    ),
    Declared("gauge", "hotline_refused_candidate", "1 while a task's champion in the ledger is not served", ("task",)),
    Declared("gauge", "hotline_drift_divergence", "Bits between the last window and the reference", SIGNAL),
    Declared("gauge", "hotline_drift_psi", "Population stability index of the last window", SIGNAL),
    Declared("gauge", "hotline_drift_threshold", "Bits above which a window is flagged", SIGNAL),
    Declared("gauge", "hotline_drift_flagged", "1 while the last window is flagged", SIGNAL),
    Declared("counter", "hotline_drift_windows_total", "Windows compared with the reference"),
    Declared("counter", "hotline_drift_alarms_total", "Windows flagged", SIGNAL),
)
"""Told at a scrape, from the route map and the windows of drift."""
ALL = (*COUNTED, *TOLD)


class Meters:
    """The metrics of this process; each begins with its first value, so that replicas tell none of an ingress."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}

    def __call__(self, name: str, *labels: str) -> Any:
        """The counter, gauge or histogram of these labels."""
        key = (name, *labels)
        if key not in self._children:
            made = self._made.get(name) or self._made.setdefault(name, _create(name))
            self._children[key] = made.labels(*labels) if labels else made
        return self._children[key]


def _create(name: str) -> Any:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

    (each,) = [declared for declared in COUNTED if declared.name == name]
    own = CollectorRegistry()  # nobody reads it: what is told comes from the files of all processes
    if each.kind == "counter":
        return Counter(each.name, each.help, each.labels, registry=own)
    if each.kind == "histogram":
        return Histogram(each.name, each.help, each.labels, registry=own, buckets=each.buckets)
    return Gauge(each.name, each.help, each.labels, registry=own, multiprocess_mode=each.mode)


def meters(state: Path) -> Meters:
    """The metrics of this process, kept under `state`; a process has one such folder, the first that it asks for."""
    if not _only.cache_info().currsize:
        place = state / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        os.environ.update(PROMETHEUS_MULTIPROC_DIR=str(place))  # the library knows no other way to be told
        from prometheus_client import values

        if not values.ValueClass._multiprocess:  # something imported the library before us
            values.ValueClass = values.MultiProcessValue()
    return _only()


@cache
def _only() -> Meters:
    return Meters()


def registry() -> CollectorRegistry:
    """What all processes of this machine have counted; those that are gone, too, but not their gauges."""
    from prometheus_client import CollectorRegistry, multiprocess

    found: Any = multiprocess.MultiProcessCollector(None)
    for pid in dead(Path(found._path)):
        multiprocess.mark_process_dead(pid, found._path)
    made = CollectorRegistry()
    made.register(found)
    return made


def dead(place: Path) -> set[int]:
    """Processes that left files there and are gone."""
    pids = {int(path.stem.rpartition("_")[2]) for path in place.glob("gauge_live*.db")}
    return {pid for pid in pids if not psutil.pid_exists(pid)}


def clear(state: Path) -> None:
    """Counting begins anew: the files of processes that are gone are deleted."""
    for path in (state / FOLDER).glob("*.db"):
        if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
            path.unlink(missing_ok=True)
