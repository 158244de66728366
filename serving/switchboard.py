"""The ingress's side of the route map: follows it, connects calls to versions, says when an old map is done with."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from hotline.errors import HotlineError, TooManyCalls, UnavailableError
from hotline.task import Input
from hotline.wishes import NOTHING, Abilities, Wish
from serving import routes
from serving.admission import URGENT
from serving.load import Load
from serving.rollout.callers import Callers
from serving.rollout.mirror import Mirror
from serving.routes import Route, RouteMap
from serving.watch.listening import Unwatched

log = logging.getLogger("ray.serve")

DEADLINE_SECONDS = 30.0
"""A call that takes longer is given up; one with a recording has as long again as the recording is."""
REACH_SECONDS = 10.0
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 3 * routes.POLL_SECONDS
"""Without a word from the controller for this long, the endpoints are not ready: promotions would go unseen."""


class Switchboard:
    """Connects a task to the one version that answers it now; a call stays with the map that it began with."""

    def __init__(self, name: str, callers: Callers | None = None, mirror: Mirror | None = None) -> None:
        self._name, self.callers, self.mirror = name, callers or Callers(), mirror or Mirror()
        self._handles: dict[str, DeploymentHandle[Any]] = {}
        self._abilities: dict[str, Abilities] = {}
        self._calls: Counter[int] = Counter()
        self._live = 0
        self._follower: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._heard = 0.0
        self.map = RouteMap()
        self.load = Load()
        self.watch = Unwatched()

    def start(self) -> None:
        self._follower = asyncio.create_task(self._follow())
        self._telling = {
            asyncio.create_task(each()) for each in (self.callers.keep_handing, self.mirror.keep_reporting)
        }

    async def stop(self) -> None:
        for task in (self._follower, *self._telling, *self._settling):
            if task:
                task.cancel()

    @property
    def silence_seconds(self) -> float:
        """Seconds since the controller was heard."""
        return time.monotonic() - self._heard

    @contextmanager
    def call(self, bulk: bool = False) -> Iterator[RouteMap]:
        """The map that a call begins with; inside of this context its versions stay, whatever is promoted."""
        known = self.map
        self._calls[known.number] += 1
        self._live += not bulk
        try:
            yield known
        finally:
            self._calls[known.number] -= 1
            self._live -= not bulk

    async def lull(self, seconds: float) -> None:
        """Until no caller waits for an answer, or that long; what is done in bulk waits here."""
        give_up = time.monotonic() + seconds
        while self._live and time.monotonic() < give_up:
            await asyncio.sleep(0.01)

    async def ask(
        self, route: Route, question: Input, seconds: float = DEADLINE_SECONDS, wish: Wish = NOTHING
    ) -> Mapping[str, Any]:
        """The version's answer in plain values. Raises UnavailableError when it does not come within `seconds`."""
        begun = time.perf_counter()
        try:
            with self.watch.asking(route, question) as ours:
                said: Mapping[str, Any] = await self.told(route, "answer", seconds, question, wish, URGENT.get())
                ours.said(said)
        except Exception as error:
            self.mirror.failed(route, error)
            raise
        self.mirror.answered(self, route, question, said, time.perf_counter() - begun)
        return said

    async def abilities(self, route: Route) -> Abilities:
        """What the version is able to do beside answering; asked once."""
        if route.app not in self._abilities:
            self._abilities[route.app] = await self.told(route, "abilities", DEADLINE_SECONDS)
        return self._abilities[route.app]

    async def told(self, route: Route, method: str, seconds: float, *given: Any) -> Any:
        """What the version's method gives back. Raises UnavailableError when it does not come within `seconds`.

        When the replica dies with the call, it goes once more to another one, or to the one in its place.
        """
        ask = getattr(self._handle(route), method).remote
        with _reaching(route):
            async with asyncio.timeout(seconds):
                try:
                    return await ask(*given)
                except (RayActorError, ReplicaUnavailableError):
                    return await ask(*given)

    async def stream(self, route: Route, method: str, question: Any) -> AsyncGenerator[Any]:
        """What the version's method yields, as it does. Raises the error that it yields, and UnavailableError when
        nothing comes for a while. Whoever stops asking ends the call."""
        response: Any = getattr(self._handle(route).options(stream=True), method).remote(question)
        try:
            with self.watch.writing(route) as ours, _reaching(route):
                while True:
                    said = await asyncio.wait_for(anext(response), DEADLINE_SECONDS)
                    if isinstance(said, HotlineError):
                        raise said
                    ours.said(said)
                    yield said
        except StopAsyncIteration:
            response = None
        finally:
            if response:
                response.cancel()

    def _handle(self, route: Route) -> DeploymentHandle[Any]:
        if route.app not in self._handles:
            self._handles[route.app] = serve.get_deployment_handle("Replica", app_name=route.app)
        return self._handles[route.app]

    async def _follow(self) -> None:
        """Adopt map after map, for as long as this ingress lives."""
        table = routes.find(self.callers.site)
        while True:
            try:
                fresh, age = await table.after.remote(self._name, self.map.number)
                self._heard = time.monotonic() - age
                if fresh.number > self.map.number:
                    self.mirror.table = table
                    await self.callers.follow(table, fresh.asking)
                    await self._adopt(fresh)
                    settling = asyncio.create_task(self._settle(table, fresh.number))
                    self._settling.add(settling)
                    settling.add_done_callback(self._settling.discard)
            except RayError:
                log.exception("the route table does not answer; the last map stays")
                self.callers.hand_all()
                await asyncio.sleep(RETRY_SECONDS)

    async def _adopt(self, fresh: RouteMap) -> None:
        """Reach every version first, then switch all tasks in one assignment."""
        reached = await asyncio.gather(*map(self._reaches, fresh.loaded.values()))
        apps = {app for app, right in zip(fresh.loaded, reached, strict=True) if right}
        self.map = fresh.within(apps)
        self._handles = {app: handle for app, handle in self._handles.items() if app in apps}
        self._abilities = {app: found for app, found in self._abilities.items() if app in apps}

    async def _reaches(self, route: Route) -> bool:
        """False when the replica holds other bytes than the route says; one that does not answer may come back."""
        try:
            identity = await asyncio.wait_for(self._handle(route).identity.remote(), REACH_SECONDS)
        except (RayError, TimeoutError, DeploymentUnavailableError, ReplicaUnavailableError):
            log.exception("%s does not answer yet", route.app)
            return True
        if identity != route.digest:
            log.error("%s holds %s, the route says %s", route.app, identity, route.digest)
        return bool(identity == route.digest)

    async def _settle(self, table: Any, number: int) -> None:
        """Say so when no call of an earlier map is left; later maps are followed meanwhile."""
        await self._drain(number)
        while True:
            try:
                await table.settle.remote(self._name, number)
                return
            except RayError:
                log.exception("the route table does not answer; it is told again")
                await asyncio.sleep(RETRY_SECONDS)

    async def _drain(self, number: int) -> None:
        """Wait until no call of an earlier map is left; each has its own deadline."""
        while any(count for earlier, count in self._calls.items() if earlier < number):
            await asyncio.sleep(0.02)
        self._calls = Counter({later: count for later, count in self._calls.items() if later >= number})


@contextmanager
def _reaching(route: Route) -> Iterator[None]:
    """Ray's ways of saying that nobody answers, as errors of ours."""
    try:
        yield
    except BackPressureError as error:
        raise TooManyCalls(
            "too many calls are waiting for this endpoint",
            retry_after=1,
            where=route.task,
            next="try again in a second",
        ) from error
    except (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError) as error:
        raise UnavailableError(
            "the version that answers is restarting", where=route.task, next="try again in a second"
        ) from error
    except TimeoutError as error:
        raise UnavailableError(
            "the answer took too long",
            where=route.task,
            expected=f"within {DEADLINE_SECONDS:g} s, and as long again as a recording is",
            next="try again",
        ) from error


@asynccontextmanager
async def running(switchboard: Switchboard) -> AsyncIterator[None]:
    """The switchboard follows the map inside of this context."""
    switchboard.start()
    try:
        yield
    finally:
        await switchboard.stop()
