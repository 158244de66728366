"""A tritonserver of our own: started on a repository that nobody else writes, ended with the endpoints.

Its folder is made by `make triton` out of the wheel nvidia-pytriton: bin/tritonserver, lib/, backends/, packages/.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hotline.errors import UnavailableError
from hotline.settings import Settings
from serving.engines.engine import TritonPlace

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOG = "triton.log"


@dataclass
class Server:
    """A running tritonserver."""

    place: TritonPlace
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the server, and remove the repository."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.place.repository, ignore_errors=True)


def launch(settings: Settings, threads: int = 1, port: int | None = None, repository: Path | None = None) -> Server:
    """A server that answers on this machine's loopback only, by default on a free port and an empty repository.

    Raises UnavailableError when there is none, or it ends.
    """
    home = settings.triton
    binary = home / "bin" / "tritonserver"
    if not binary.is_file():
        raise UnavailableError(
            "there is no tritonserver on this machine",
            where=str(home),
            found="no bin/tritonserver",
            next="make triton; or name a folder with HOTLINE_TRITON, or a server with --triton",
        )
    repositories = settings.state / "triton"
    repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
    repository = repository or Path(tempfile.mkdtemp(dir=repositories))
    port = port or _free_port()
    log = settings.state / LOG
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command(home, repository, port), stdout=stream, stderr=stream, env=environment(home), start_new_session=True
        )
    place = TritonPlace(address=f"127.0.0.1:{port}", repository=repository, packages=home / "packages", threads=threads)
    server = Server(place, process)
    try:
        _wait(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def command(home: Path, repository: Path, port: int) -> list[str]:
    """How a server is started whose models are those that we ask it to load."""
    options = {
        "model-repository": repository,
        "backend-directory": home / "backends",
        "model-control-mode": "explicit",
        "grpc-address": "127.0.0.1",
        "grpc-port": port,
        "allow-http": "false",
        "allow-metrics": "false",
    }
    return [str(home / "bin" / "tritonserver"), *(f"--{name}={value}" for name, value in options.items())]


def environment(home: Path) -> dict[str, str]:
    """The server's libraries, and the system's Python before any other: its Python backend links that one."""
    path = os.pathsep.join(["/usr/bin", "/bin", os.defpath])
    return {"PATH": path, "LD_LIBRARY_PATH": str(home / "lib"), "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _wait(server: Server, log: Path) -> None:
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    give_up = time.monotonic() + START_SECONDS
    with triton.InferenceServerClient(server.place.address) as client:
        while time.monotonic() < give_up and server.process.poll() is None:
            try:
                if client.is_server_live(client_timeout=1.0):
                    return
            except InferenceServerException:
                time.sleep(0.1)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise UnavailableError(
        "tritonserver did not start",
        where=str(log),
        found=" ".join(said[-2:])[-400:] or f"exit {server.process.poll()}",
        next="look into that file; make triton builds it anew",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
