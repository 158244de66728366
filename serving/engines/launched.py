"""A server of our own beside a replica: started from the version's verified bytes, watched, and stopped with us."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from hotline.errors import HotlineError, IntegrityError, UnavailableError
from hotline.policy import Upstream

log = logging.getLogger("ray.serve")

RETRY_SECONDS = 2.0
STOP_SECONDS = 20.0
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


class Server:
    """The process, watched by a thread: one that dies is started again, from bytes that are checked anew."""

    def __init__(self, declared: Upstream, folder: Path, check: Callable[[], None]) -> None:
        self._declared, self._folder, self._check = declared, folder, check
        self._stopping = threading.Event()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self._port = _free_port()
        self._process = self._start()
        self._wait()
        threading.Thread(target=self._watch, name="upstream", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """End the process and everything that it started."""
        self._stopping.set()
        _end(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        command = self._declared.filled(str(self._folder), self._port)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise UnavailableError(
                "the upstream server cannot be started",
                where="upstream.command in policy/site.yaml",
                found=error,
                next="install it in an environment of its own and name its whole path",
            ) from error

    def _wait(self) -> None:
        """Until it answers. Raises UnavailableError with the end of what it wrote."""
        give_up = time.monotonic() + self._declared.start_seconds
        while time.monotonic() < give_up and self._process.poll() is None and not self._stopping.is_set():
            try:
                if httpx.get(f"{self.url}/health", trust_env=False, timeout=5).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        _end(self._process)
        raise UnavailableError(
            "the upstream server did not start",
            where="upstream in policy/site.yaml",
            found=self._last_words(),
            expected=f"an answer at /health within {self._declared.start_seconds:g} s",
        )

    def _last_words(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 500))
        return " ".join(self._log.read().decode(errors="replace").split())

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            if self._process.poll() is None:
                continue
            log.error("the upstream server ended with %s; it is started again", self._process.returncode)
            try:
                self._check()
                self._process = self._start()
                self._wait()
            except IntegrityError:
                log.exception("the upstream server's files were changed; it is not started again")
                return
            except HotlineError:
                log.exception("the upstream server does not start; it is tried again")
                self._stopping.wait(RETRY_SECONDS)


def _die_with_parent() -> None:
    """In the child: it ends when the replica does, however that ends."""
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(STOP_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
