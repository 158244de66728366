"""One ingress process's watch: its counts, and what it looks at once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hotline import notices, settings
from serving.watch.drift import Drift, State, read_state, state_path
from serving.watch.listening import Listener
from serving.watch.logs import RequestLog
from serving.watch.meters import meters
from serving.watch.minutes import Minutes
from serving.watch.traces import Traces

if TYPE_CHECKING:
    from hotline.policy import SitePolicy
    from serving.switchboard import Switchboard
    from serving.watch.exposition import Row

log = logging.getLogger("ray.serve")

LOOK_SECONDS = 1.0
MINUTE_SECONDS = 60.0


class Watch:
    """Listens to a switchboard for as long as its ingress lives."""

    def __init__(self, switchboard: Switchboard, state: Path, site: SitePolicy) -> None:
        self._switchboard, self._state, self._site = switchboard, state, site
        self.meters, self.log = meters(state), RequestLog(state, site.watch.request_log_days)
        self.traces, self._minutes = Traces(settings.collector()), Minutes(state)
        self._drift, self._wrote = Drift(state, self._tell_drift), time.monotonic()
        switchboard.watch = Listener(self.meters, self._drift, self.traces)

    @asynccontextmanager
    async def beside(self, work: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Look again and again inside of this context, which is `work`'s, too."""
        looking = asyncio.create_task(self._look_on())
        try:
            async with work:
                yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._drift.close()
        self.log.write()
        self._minutes.write()
        self.traces.close()

    def _tell_drift(self, state: State, flagged: Sequence[str]) -> None:
        said = f"{', '.join(flagged)} of the last {state.window} requests differ from what it was trained on"
        named = {"site": self._site.site, "task": state.task, "version": state.version}
        notices.tell(self._site, notices.Notice(event="drift", said=said, next="hotline drift", **named))

    async def _look_on(self) -> None:
        while True:
            try:
                self.look()
                self.log.write()
                if time.monotonic() - self._wrote > MINUTE_SECONDS:
                    self._wrote = time.monotonic()
                    await asyncio.to_thread(self._minutes.write)
            except Exception:
                log.exception("the watch stumbled; it looks again")
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Say how busy this ingress is, and which map it answers by."""
        known, told = self._switchboard, self.meters
        told("hotline_ingress_processes").set(1)
        told("hotline_route_map").set(known.map.number)
        told("hotline_controller_heard_timestamp_seconds").set(time.time() - known.silence_seconds)
        for task, busy in known.load.tasks.items():
            told("hotline_in_flight", task).set(busy.ongoing)
        self._drift.look()

    def rows(self) -> Iterator[Row]:
        """What is told at a scrape, beside the route map."""
        self.look()
        for state in self.drift():
            version = (state.task, state.version)
            yield "hotline_drift_windows_total", version, state.windows
            for signal in state.signals:
                labels = (*version, signal.name)
                yield "hotline_drift_threshold", labels, signal.threshold
                yield "hotline_drift_alarms_total", labels, signal.alarms
                yield "hotline_drift_flagged", labels, signal.flagged
                if signal.divergence is not None and signal.psi is not None:
                    yield "hotline_drift_divergence", labels, signal.divergence
                    yield "hotline_drift_psi", labels, signal.psi

    def drift(self) -> Iterator[State]:
        """The windows of the versions that answer now."""
        known = self._switchboard.map
        for route in (*known.routes.values(), *(stage.route for stage in known.trials.values())):
            if state := read_state(state_path(self._state, route.task, route.digest)):
                yield state
