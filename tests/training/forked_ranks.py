"""Imports Lightning and DeepSpeed once, then forks the ranks of one run after another: seconds instead of a minute.

Reads one JSON object per line (see `ForkedRanks.run`), answers with one.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import deepspeed  # noqa: F401
import torch

from hotline import settings
from hotline.errors import HotlineError
from pipelines.cli import report
from training import distributed, fit, recipe
from training.checkpoint import Stopped
from training.keeping import Keeper
from training.progress import Losses

TIMEOUT_SECONDS = 300.0


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


def run(told: dict[str, Any]) -> dict[str, Any]:
    """All ranks of one run, to their end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    steps = mmap.mmap(-1, 8)
    with tempfile.TemporaryDirectory() as scratch:
        pids = [forked(rank, told, port, steps, Path(scratch) / str(rank)) for rank in range(told["ranks"])]
        if "signal" in told:
            wait_for(steps, told["at"], pids[0])
            for pid in pids if told.get("to") is None else [pids[told["to"]]]:
                os.kill(pid, told["signal"])
        codes = [ended(pid) for pid in pids]
        written = [(Path(scratch) / str(rank)).read_text(errors="replace") for rank in range(told["ranks"])]
    return {"codes": codes, "written": written, "steps": int.from_bytes(steps[:8], "little")}


def forked(rank: int, told: dict[str, Any], port: int, steps: mmap.mmap, output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    faulthandler.register(signal.SIGUSR1, file=1)
    os._exit(trained(rank, told, port, steps))


def trained(rank: int, told: dict[str, Any], port: int, steps: mmap.mmap) -> int:
    """What `hotline train` does, in this process; gives its exit status."""
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(told["ranks"])} | told.get("environment", {})
    distributed.be_rank(rank)
    torch.set_num_threads(1)
    counted(rank, steps)
    if "file_limit" in told:
        limited(told["file_limit"])
    try:
        here = settings.load(Path(told["workspace"]))
        resolved = recipe.load(here.recipes / f"{told['recipe']}.yaml")
        fit.train(here, resolved, resume=told.get("resume", False), anyway=told.get("anyway", False))
    except Stopped as stopped:
        print(stopped)
    except HotlineError as error:
        report(error)
        return error.exit_code
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


def counted(rank: int, steps: mmap.mmap) -> None:
    """Let the parent see how many steps the first rank has done."""
    before = Losses.on_train_batch_end

    def after(log: Losses, trainer: Any, *arguments: Any) -> None:
        before(log, trainer, *arguments)
        if rank == 0:
            steps[:8] = int(trainer.global_step).to_bytes(8, "little")

    Losses.on_train_batch_end = after  # type: ignore[method-assign]


def limited(size: int) -> None:
    """While a checkpoint is written, no file may become larger: as on a full disk, the write fails."""
    before = Keeper._write

    def write(keeper: Keeper, *arguments: Any) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            before(keeper, *arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    Keeper._write = write  # type: ignore[method-assign]


def wait_for(steps: mmap.mmap, at: int, first: int) -> None:
    """Until the first rank has done so many steps, or ended before."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while int.from_bytes(steps[:8], "little") < at and time.monotonic() < until:
        if os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def ended(pid: int) -> int:
    """Exit status, negative for a signal; a rank that hangs is killed."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGUSR1)  # writes where it hangs
    time.sleep(1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124


if __name__ == "__main__":
    main()
