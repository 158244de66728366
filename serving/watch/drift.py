"""Drift while serving: requests are counted into windows, and a full window is compared with the version's reference.

All ingress processes of a site count into one window, a file under a lock, and what lies there is shares of bins: no
text, no row. References are made elsewhere (`hotline baseline`); a version without one is not watched.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hotline import drift
from hotline.drift import Reference
from hotline.requests import DIGEST_CHARACTERS
from hotline.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.routes import Route

log = logging.getLogger("ray.serve")

TOGETHER = 250
"""Requests that are counted at a time; fewer wait for WAIT_SECONDS at most."""
WAIT_SECONDS = 10.0
MOST_WAITING = 2000
"""More are not looked at: drift is a sample, and callers come first."""
LOOK_SECONDS = 30.0
"""How long a version without a reference is taken to have none."""


class SignalState(BaseModel):
    """What the windows so far said about one signal."""

    model_config = ConfigDict(extra="forbid")

    name: str
    threshold: float
    divergence: float | None = None
    """Bits, of the last full window; None before the first."""
    psi: float | None = None
    flagged: bool = False
    alarms: int = 0
    moved: list[tuple[str, float, float]] = []
    """Name of a bin, its share in the reference, its share in the last window."""
    sums: list[float] = []
    """Of the window that is filling."""


class State(BaseModel):
    """A version's windows."""

    model_config = ConfigDict(extra="forbid")

    task: str
    version: str
    digest: str
    window: int
    filled: int = 0
    windows: int = 0
    judged: float | None = None
    """When the last window was full, in seconds since 1970."""
    signals: list[SignalState] = []

    def follows(self, known: Reference) -> bool:
        """Whether these are windows of that reference, and not of one before it."""
        ours = [(each.name, each.threshold) for each in self.signals]
        return self.window == known.window and ours == [(each.name, each.threshold) for each in known.signals]


class Drift:
    """Counts what one ingress process sees."""

    def __init__(self, state: Path, alarm: Callable[[State, Sequence[str]], None]) -> None:
        self._state, self._alarm = state, alarm
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._routes: dict[str, Route] = {}
        self._references: dict[str, tuple[float, Reference | None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="drift")
        self._counted = time.monotonic()

    def note(self, route: Route, question: Any, said: Mapping[str, Any]) -> None:
        """One answer; it is counted later, in another thread."""
        if self._reference(route) is None:
            return
        waiting, task = self._waiting.setdefault(route.app, []), TASKS[route.task]
        if len(waiting) < MOST_WAITING:
            waiting.append(drift.asked_of(task, question) | drift.said_of(task, said["answer"], said["confidence"]))
            self._routes[route.app] = route
        if len(waiting) == TOGETHER:
            self._thread.submit(self._count_all)

    def look(self) -> None:
        """Count what has waited long enough."""
        if time.monotonic() - self._counted > WAIT_SECONDS:
            self._thread.submit(self._count_all)

    def close(self) -> None:
        """Count the rest."""
        self._thread.submit(self._count_all)
        self._thread.shutdown()

    def _count_all(self) -> None:
        self._counted = time.monotonic()
        for app in list(self._waiting):
            seen, route = self._waiting.pop(app, []), self._routes[app]
            try:
                known = self._reference(route)
                if known and seen:
                    self._count(route, known, seen)
            except Exception:
                log.exception("drift of %s was not counted", app)

    def _reference(self, route: Route) -> Reference | None:
        looked, known = self._references.get(route.app, (-LOOK_SECONDS, None))
        if known is None and time.monotonic() - looked >= LOOK_SECONDS:
            known = read_reference(reference_path(self._state, route.task, route.digest))
            self._references[route.app] = (time.monotonic(), known)
        return known

    def _count(self, route: Route, known: Reference, seen: Sequence[Mapping[str, Any]]) -> None:
        version, path = f"{route.line}@{route.version}", state_path(self._state, route.task, route.digest)
        with _locked(path):
            state = read_state(path)
            if state is None or not state.follows(known):
                state = started(known, version)
            for flagged in add(state, known, seen):
                log.warning("%s, %s: %s differs from what it was trained on", route.task, version, ", ".join(flagged))
                self._alarm(state, flagged)
            fresh = path.with_suffix(".new")
            fresh.write_text(state.model_dump_json(), encoding="utf-8")
            fresh.replace(path)


def started(known: Reference, version: str) -> State:
    """No window yet."""
    signals = [SignalState(name=each.name, threshold=each.threshold) for each in known.signals]
    return State(task=known.task, version=version, digest=known.digest, window=known.window, signals=signals)


def add(state: State, known: Reference, seen: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Count requests into the windows; gives the flagged signals of every window that they fill, if there are any."""
    while seen:
        taken, seen = seen[: state.window - state.filled], seen[state.window - state.filled :]
        for signal, ours in zip(known.signals, state.signals, strict=True):
            sums = signal.spread([each[signal.name] for each in taken]).sum(0)
            ours.sums = (sums + np.asarray(ours.sums) if ours.sums else sums).tolist()
        state.filled += len(taken)
        if state.filled == state.window and (flagged := _judge(state, known)):
            yield flagged


def _judge(state: State, known: Reference) -> list[str]:
    """The signals that the full window flags; the next one begins."""
    for signal, ours in zip(known.signals, state.signals, strict=True):
        found = drift.find(signal, np.asarray(ours.sums) / state.window, state.window)
        ours.divergence, ours.psi, ours.flagged = found.divergence, found.psi, found.flagged
        ours.moved, ours.sums = list(found.moved), []
        ours.alarms += found.flagged
    state.filled, state.windows, state.judged = 0, state.windows + 1, time.time()
    return [each.name for each in state.signals if each.flagged]


def reference_path(state: Path, task: str, digest: str) -> Path:
    """Where the reference of a version lies."""
    return state / "watch" / "references" / f"{task}-{digest[:DIGEST_CHARACTERS]}.json"


def state_path(state: Path, task: str, digest: str) -> Path:
    """Where its windows lie."""
    return state / "watch" / "drift" / f"{task}-{digest[:DIGEST_CHARACTERS]}.json"


def read_reference(path: Path) -> Reference | None:
    """None when there is none, or none that can be read."""
    with contextlib.suppress(OSError):
        try:
            return Reference.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError:
            log.exception("%s is no reference; make it again: hotline baseline", path)
    return None


def read_state(path: Path) -> State | None:
    """None when there is none, or none that can be read."""
    with contextlib.suppress(OSError, ValidationError):
        return State.model_validate_json(path.read_text(encoding="utf-8"))
    return None


def states(state: Path) -> list[State]:
    """Of every version that was watched at this site."""
    found = (read_state(path) for path in sorted((state / "watch" / "drift").glob("*.json")))
    return [each for each in found if each]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
