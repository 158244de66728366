"""A PostgreSQL server of the tests' own, from the system's package."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = "secret-of-the-ledger"


class Postgres:
    """One server with its data; it can be stopped and started again. Run by root, it is the user `postgres`'s."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._data = programs, folder / "data"
        self._user = "postgres" if os.getuid() == 0 else None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        secret = folder / "secret"
        secret.write_text(SECRET)
        for path in (folder, secret):
            shutil.chown(path, self._user or os.getuid())
        self._run("initdb", "-U", "hotline", "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync")
        self.url = f"postgresql+psycopg://hotline:{SECRET}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self._data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As a crash does: connections are cut, nobody is asked."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *arguments]
        subprocess.run(command, user=self._user, check=True, stdout=subprocess.DEVNULL, cwd=self._data.parent)


def programs() -> Path | None:
    """Where `initdb` lies: on the path, or where Debian puts it; None without it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@contextmanager
def running(where: Path) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(where, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
