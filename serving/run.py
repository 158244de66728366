"""Start and stop the endpoints of one workspace on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from hotline.errors import UnavailableError
from hotline.settings import Settings
from hotline.tasks import find
from serving import sites
from serving.access import listening

if TYPE_CHECKING:
    from serving.controller import Controller
    from serving.engines.triton_server import Server
    from serving.replica import Options

log = logging.getLogger("hotline.serving")

OBJECT_STORE_BYTES = 100 * 1024**2
"""Answers are small; Ray's own minimum is 75 MiB."""
LOGICAL_CPUS = 4
"""Ray starts this many processes at once: Serve's controller, the route table, an ingress, a replica."""
LOOK_SECONDS = 1.0
STUMBLES = 30
"""Failed looks in a row after which the endpoints are given up."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "MALLOC_ARENA_MAX": "1",
}
"""Ray would put replicas behind all other processes (niceness 15). RAY_SERVE's last three are its throughput settings:
a call crosses fewer threads. With one arena glibc keeps a thread's large blocks, too (hotline/memory.py)."""


@dataclass
class Running:
    """Live endpoints; `stop` ends them and everything that was started for them."""

    url: str
    seconds: float
    """From the call of `start` until the first call can be answered."""
    controller: Controller
    server: Server | None = None
    """The Triton server that was started for them."""
    others: tuple[Running, ...] = ()
    """Further sites of the same deployment; they are followed, awaited and stopped with this one."""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _lost: bool = False

    def follow(self) -> None:
        """Follow the ledger from a thread of its own."""
        self._thread = threading.Thread(target=self._follow, name="controller", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        stumbles = 0
        while stumbles < STUMBLES and not self._stopping.wait(LOOK_SECONDS):
            try:
                self.controller.step()
                stumbles = 0
            except Exception:
                stumbles += 1
                log.exception("the controller stumbled; what is served stays, it looks again")
        self._lost = stumbles == STUMBLES
        self._stopping.set()

    def wait(self) -> None:
        """Until a stop is asked for. Raises UnavailableError when Ray itself has gone."""
        every = (self, *self.others)
        while not any(each._stopping.wait(1.0 / len(every)) for each in every):
            pass
        if any(each._lost for each in every):
            raise UnavailableError("Ray does not answer any more", where=sites.LOGS, next="hotline serve")

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def stop(self) -> None:
        """Let calls finish, then end Ray Serve and Ray."""
        every = (self, *self.others)
        for each in every:
            each._stopping.set()
        for each in every:
            if each._thread:
                each._thread.join(timeout=LOOK_SECONDS + 5)
        _stop_ray(self.server)


def start(
    settings: Settings, port: int | None = None, options: Options | None = None, others: Sequence[Settings] = ()
) -> Running:
    """Endpoints for every champion of the workspace's ledger, and of `others` on the ports after it, ready for calls.

    Raises UnavailableError when a port is taken, RefusedError when no champion may be served, IntegrityError when
    the ledger or the bytes were edited, PolicyError when strangers could call; nothing was started then.
    """
    begun = time.monotonic()
    every = sites.apart([settings if port is None else settings.model_copy(update={"port": port}), *others])
    for each in every:
        listening.check(each)
        listening.check_port(each.host, each.port)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from serving.controller import Controller
    from serving.replica import Options
    from serving.watch import minutes

    options = options or Options()
    for each in every:
        Controller(each, options).check()
    for each in every:
        minutes.begin(each.state)
    server, options = _with_triton(settings, options)
    controllers = [Controller(each, options) for each in every]
    _start_all(every, controllers, server)
    seconds = time.monotonic() - begun
    found = [Running(each.url, seconds, by) for each, by in zip(every, controllers, strict=True)]
    first = dataclasses.replace(found[0], server=server, others=tuple(found[1:]))
    for running in (first, *first.others):
        running.follow()
    return first


def _start_all(every: Sequence[Settings], controllers: Sequence[Controller], server: Server | None) -> None:
    """Ray, then a site after the other; all of it ends again when one of them does not come up."""
    import ray
    from ray.exceptions import RayError

    from serving.listener import Address

    if ray.is_initialized():
        if server:
            server.stop()
        raise UnavailableError("this process serves already", where=sites.LOGS, next="stop it, then hotline serve")
    try:
        tables = _start_ray([controller.site for controller in controllers])
        for each, controller, table in zip(every, controllers, tables, strict=True):
            controller.start(table, Address.of(each))
    except (RayError, TimeoutError) as error:
        _stop_ray(server)
        found = str(error).splitlines()[0]
        raise UnavailableError(
            "Ray Serve did not start", where=sites.LOGS, found=found, next="hotline serve, again"
        ) from error
    except BaseException:
        _stop_ray(server)
        raise


def serve_forever(settings: Settings, options: Options | None = None, others: Sequence[Settings] = ()) -> None:
    """Serve until SIGINT or SIGTERM; says where to look, and how to stop."""
    for each in (settings, *others):
        print(f"Starting the endpoints of {each.workspace} …", flush=True)
    running = start(settings, options=options, others=others)
    try:

        def asked(signal_number: int, frame: FrameType | None) -> None:
            running.ask_to_stop()

        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        print(sites.notice(running), flush=True)  # whoever reads that they may stop it, may
        running.wait()
        print("Stopping: calls in progress are finished first.", flush=True)
        for number, handler in before.items():
            signal.signal(number, handler)
    finally:
        running.stop()


def _start_ray(names: Sequence[str]) -> list[Any]:
    """A Ray of our own on this machine, never a cluster that an environment variable points at; the sites' tables."""
    import ray
    from ray import serve

    from serving import routes
    from serving.loading import QUIET

    try:
        ray.init(
            address="local",
            namespace=routes.NAMESPACE,
            num_cpus=LOGICAL_CPUS,
            num_gpus=0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        if "timed out" not in str(error):  # what a busy machine makes of it has no type of its own
            raise
        raise TimeoutError(str(error)) from error
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    tables = [routes.create(name) for name in names]  # their processes come up beside those of Ray Serve
    serve.start(proxy_location="Disabled", logging_config=QUIET)
    return tables


def _with_triton(settings: Settings, options: Options) -> tuple[Server | None, Options]:
    """A Triton server of our own where a task asks for one and none is named, and the options that name it.

    Raises InputError for a task that Triton cannot run, UnavailableError when there is no server to start.
    """
    from serving.engines import engine, triton_server

    for task, name in options.engines.items():
        engine.refuse_unfit(find(task), name)
    if options.triton or "triton" not in options.engines.values():
        return None, options
    server = triton_server.launch(settings, options.threads)
    return server, options.model_copy(update={"triton": server.place})


def _stop_ray(server: Server | None) -> None:
    """End Ray, then the Triton server that it asked."""
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from serving.controller import INGRESS

    if ray.is_initialized():
        with contextlib.redirect_stdout(io.StringIO()):  # Ray reports the end of its own controller as a failure
            with contextlib.suppress(RayError, RayServeException):
                for name in serve.status().applications:
                    if name.startswith(INGRESS):
                        serve.delete(name)  # first: calls in progress may still have something to ask a version
            serve.shutdown()
            ray.shutdown()
    if server:
        server.stop()
