"""Which code runs, and on which machine: what runs and verdicts say about where they were made."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hotline.settings import CODE_ROOT

CODE_FILES = ("*.py", "*.yaml")
CPU_INFO = Path("/proc/cpuinfo")


class Revision(BaseModel):
    """The git commit of the code, and whether code was edited since."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str
    dirty: bool


class Hardware(BaseModel):
    """What a verdict was computed on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    memory_gib: float
    gpus: tuple[str, ...] = ()


def revision() -> Revision | None:
    """The commit of this code and whether code was edited since; None where this file is not of a git checkout."""
    if _git("ls-files", "--error-unmatch", Path(__file__).relative_to(CODE_ROOT).as_posix()) is None:
        return None  # installed into a folder of somebody else's repository
    commit = _git("rev-parse", "HEAD")
    return Revision(commit=commit, dirty=bool(_git("status", "--porcelain", "--", *CODE_FILES))) if commit else None


def hardware() -> Hardware:
    """Processor, cores, memory and GPUs of this machine."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Hardware(
        cpu=_cpu(),
        cores=psutil.cpu_count(logical=True) or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=tuple(gpus),
    )


def _cpu() -> str:
    """The processor's own name; its architecture where the system does not say."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), "") or platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says; None when it refuses, or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(CODE_ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
