"""What the ingress tells of its calls while it works; every hook is a few microseconds, and none ever fails a call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotline.drift import dialect_field
from hotline.errors import UnavailableError
from hotline.tasks import TASKS
from serving.rollout.callers import CALLER

if TYPE_CHECKING:
    from serving.routes import Route
    from serving.watch.drift import Drift
    from serving.watch.meters import Meters
    from serving.watch.traces import Traces


@dataclass
class Request:
    """What is known of the HTTP request that is being answered."""

    audio_seconds: float = 0.0
    dialect: str = ""
    """Of the last answer in it."""


REQUEST: ContextVar[Request | None] = ContextVar("request", default=None)


class Asked:
    """One input on its way to a version; nobody listens."""

    def said(self, said: Any) -> None:
        """The version's answer, or the next piece of it."""


class Unwatched:
    """Nobody listens."""

    @contextmanager
    def asking(self, route: Route, question: Any) -> Iterator[Asked]:
        yield Asked()

    @contextmanager
    def writing(self, route: Route) -> Iterator[Asked]:
        yield Asked()


class Listener(Unwatched):
    """Counts what is asked, said and written, and hands it to the watch over drift."""

    def __init__(self, meters: Meters, drift: Drift, traces: Traces) -> None:
        self._meters, self._drift, self._traces = meters, drift, traces

    @contextmanager
    def asking(self, route: Route, question: Any) -> Iterator[Asked]:
        """One input that a version is asked; what it says is told to the given object."""
        task, name = version(route)
        try:
            with self._traces.asking({"hotline.task": task, "hotline.version": name}):
                yield _Answer(self._meters, self._drift, route, question)
        except UnavailableError as error:
            if isinstance(error.__cause__, TimeoutError):
                self._meters("hotline_timeouts_total", task, name).inc()
            raise

    @contextmanager
    def writing(self, route: Route) -> Iterator[Asked]:
        """A text that is being written; each piece is told to the given object."""
        with self.asking(route, None):
            yield _Text(self._meters, route)


class _Answer(Asked):
    def __init__(self, meters: Meters, drift: Drift, route: Route, question: Any) -> None:
        self._meters, self._drift, self._route, self._question = meters, drift, route, question

    def said(self, said: Mapping[str, Any]) -> None:
        task, labels, request = TASKS[self._route.task], version(self._route), REQUEST.get()
        dialect = CALLER.get().dialect or str(said["answer"].get(dialect_field(task), ""))
        self._meters("hotline_answers_total", *labels, dialect).inc()
        self._meters("hotline_answer_confidence", *labels).observe(said["confidence"])
        if request:
            request.dialect = dialect
        if task.audio_field:
            seconds = getattr(self._question, task.audio_field).seconds
            self._meters("hotline_audio_seconds_total", *labels).inc(seconds)
            if request:
                request.audio_seconds += seconds
        self._drift.note(self._route, self._question, said)


class _Text(Asked):
    def __init__(self, meters: Meters, route: Route) -> None:
        self._meters, self._labels = meters, version(route)
        self._last, self._written = time.perf_counter(), 0

    def said(self, said: Any) -> None:
        """`Begun` is nothing written yet; then come lists of news, one for each choice that gained something."""
        if not isinstance(said, list):
            return
        now, tokens = time.perf_counter(), sum(news.tokens for news in said)
        name = "hotline_inter_token_seconds" if self._written else "hotline_first_token_seconds"
        if tokens:
            each = tokens if self._written else 1  # the first piece is waited for as a whole
            self._meters(name, *self._labels).observe((now - self._last) / each)
            self._meters("hotline_tokens_total", *self._labels).inc(tokens)
            self._last, self._written = now, self._written + tokens


def version(route: Route) -> tuple[str, str]:
    """Of a version's metrics, the labels `task` and `version`."""
    return route.task, f"{route.line}@{route.version}"
