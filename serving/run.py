"""Start and stop the endpoints of one workspace on this machine."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from hotline.errors import UnavailableError
from hotline.settings import Settings
from hotline.tasks import find
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
LOGS = "/tmp/ray/session_latest/logs/serve"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""Ray would put replicas behind every other process of the machine (niceness 15). The last three are Ray Serve's
throughput settings: a call crosses fewer threads on its way."""


@dataclass
class Running:
    """Live endpoints; `stop` ends them and everything that was started for them."""

    url: str
    seconds: float
    """From the call of `start` until the first call can be answered."""
    controller: Controller
    server: Server | None = None
    """The Triton server that was started for them."""
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
        while not self._stopping.wait(1.0):
            pass
        if self._lost:
            raise UnavailableError("Ray does not answer any more", where=LOGS, next="hotline serve")

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def stop(self) -> None:
        """Let calls finish, then end Ray Serve and Ray."""
        self._stopping.set()
        if self._thread:
            self._thread.join(timeout=LOOK_SECONDS + 5)
        _stop_ray(self.server)


def start(settings: Settings, port: int | None = None, options: Options | None = None) -> Running:
    """Endpoints for every champion of the workspace's ledger, ready to be called.

    Raises UnavailableError when the port is taken, RefusedError when no champion may be served, IntegrityError when
    the ledger or the bytes were edited, PolicyError when strangers could call; nothing was started then.
    """
    begun = time.monotonic()
    settings = settings if port is None else settings.model_copy(update={"port": port})
    listening.check(settings)
    check_port(settings.host, settings.port)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from serving.controller import Controller
    from serving.replica import Options
    from serving.watch import minutes

    options = options or Options()
    Controller(settings, options).check()
    from ray.exceptions import RayError

    minutes.begin(settings.state)
    server, options = _with_triton(settings, options)
    controller = Controller(settings, options)
    try:
        controller.start(_start_ray(), listening.address(settings))
    except (RayError, TimeoutError) as error:
        _stop_ray(server)
        found = str(error).splitlines()[0]
        raise UnavailableError(
            "Ray Serve did not start", where=LOGS, found=found, next="hotline serve, again"
        ) from error
    except BaseException:
        _stop_ray(server)
        raise
    running = Running(settings.url, time.monotonic() - begun, controller, server)
    running.follow()
    return running


def serve_forever(settings: Settings, options: Options | None = None) -> None:
    """Serve until SIGINT or SIGTERM; says where to look, and how to stop."""
    print(f"Starting the endpoints of {settings.workspace} …", flush=True)
    running = start(settings, options=options)
    try:

        def asked(signal_number: int, frame: FrameType | None) -> None:
            running.ask_to_stop()

        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        print(notice(running), flush=True)  # whoever reads that they may stop it, may
        running.wait()
        print("Stopping: calls in progress are finished first.", flush=True)
        for number, handler in before.items():
            signal.signal(number, handler)
    finally:
        running.stop()


def notice(running: Running) -> str:
    """What a person reads when the endpoints are up."""
    served = running.controller.map
    lines = [f"Ready after {running.seconds:.0f} s.", ""]
    lines += [
        f"  POST {running.url}/v1/tasks/{task}    {route.line}@{route.version}, {route.outcome} ({route.profile})"
        + ("" if route.engine == "in process" else f", by {route.engine}")
        for task, route in served.routes.items()
    ]
    lines += [f"  not served: {task}: {reason}" for task, reason in served.unserved.items()]
    lines += [
        "",
        f"  try it     {running.url}/",
        f"  API        {running.url}/docs",
        f"  readiness  {running.url}/readyz",
        f"  metrics    {running.url}/metrics",
        f"  logs       {LOGS}",
        "",
        "Promotions and rollbacks are followed while this runs. Stop with Ctrl-C (or SIGTERM).",
    ]
    return "\n".join(lines)


def check_port(host: str, port: int) -> None:
    """Raises UnavailableError unless this machine can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise UnavailableError(
                f"port {port} is in use" if taken else f"cannot listen on {host}:{port}",
                where=f"{host}:{port}",
                found="another program listens there" if taken else error.strerror or error,
                next=f"HOTLINE_PORT={port + 1} hotline serve",
            ) from error


def _start_ray() -> Any:
    """A Ray of our own on this machine, never a cluster that an environment variable points at; its route table."""
    import ray
    from ray import serve

    from serving import routes
    from serving.loading import QUIET

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
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    table = routes.create()  # its process comes up beside those of Ray Serve
    serve.start(proxy_location="Disabled", logging_config=QUIET)
    return table


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
                serve.delete(INGRESS)  # first: calls in progress may still have something to ask a version
            serve.shutdown()
            ray.shutdown()
    if server:
        server.stop()
