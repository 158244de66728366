"""What this machine can do, and what to do about what is missing."""

from __future__ import annotations

import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from hotline import keys, policy, settings
from hotline.errors import HotlineError
from hotline.settings import Settings

State = Literal["ok", "missing", "broken"]
ENGINES = (
    "torch",
    "pytorch-lightning",
    "deepspeed",
    "transformers",
    "peft",
    "mlflow",
    "ray",
    "dvc",
    "great-expectations",
)
MEMORY_GIB = 6
DISK_GIB = 5


@dataclass(frozen=True)
class Finding:
    """`missing` limits what can be done here; `broken` stops the platform from working."""

    what: str
    state: State
    found: str
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Machine, packages, accelerator, then the workspace that we are in, if any."""
    findings = [*_machine(), *_packages(), _accelerator(), _tool("git", "install git: revisions are recorded with it")]
    findings.append(_tool("g++", "install a C++ compiler: DeepSpeed's compiled operators; not needed on a CPU"))
    try:
        here = settings.load()
    except HotlineError as error:
        return [*findings, Finding("workspace", "missing", error.what, error.next or "")]
    return [*findings, *_workspace(here)]


def _machine() -> Iterator[Finding]:
    import psutil

    yield _wanted("Python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")
    memory_gib = psutil.virtual_memory().total / 2**30
    yield _wanted("memory", memory_gib >= MEMORY_GIB, f"{memory_gib:.0f} GiB", f"the demo wants {MEMORY_GIB} GiB")
    free_gib = shutil.disk_usage(".").free / 2**30
    yield _wanted("disk", free_gib >= DISK_GIB, f"{free_gib:.0f} GiB free", f"free {DISK_GIB} GiB")
    yield Finding("cores", "ok", str(psutil.cpu_count(logical=True)))


def _wanted(what: str, ok: bool, found: str, todo: str) -> Finding:
    return Finding(what, "ok", found) if ok else Finding(what, "missing", found, todo)


def _packages() -> Iterator[Finding]:
    for name in ENGINES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "broken", "not installed", "make setup")


def _accelerator() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())}
        return Finding("GPU", "ok", f"{torch.cuda.device_count()} × {', '.join(sorted(names))}")
    return Finding("GPU", "missing", "none", "everything small runs on the CPU; large recipes need CUDA")


def _tool(name: str, todo: str) -> Finding:
    path = shutil.which(name)
    return _wanted(name, path is not None, path or "not on PATH", todo)


def _workspace(here: Settings) -> Iterator[Finding]:
    yield Finding("workspace", "ok", str(here.workspace))
    yield _try("policy", lambda: _words(policy.load(here.workspace)))
    for role in ("gate", "operator"):
        yield _key(here, role)
    yield _try("ledger", lambda: _ledger(here))
    yield _try("MLflow", lambda: _mlflow(here))
    with socket.socket() as probe:
        free = probe.connect_ex((here.host, here.port)) != 0
    found = f"{here.port} is {'free' if free else 'in use'}"
    yield _wanted("port", free, found, f"HOTLINE_PORT={here.port + 1} hotline serve")


def _words(found: policy.SitePolicy) -> str:
    return f"site {found.site}, profile {found.profile}"


def _key(here: Settings, role: str) -> Finding:
    """Trainers and servers need no keys, so a missing one limits only what can be signed here."""
    try:
        public = keys.load(here.keys, role).public
    except HotlineError:
        return Finding(f"{role} key", "missing", "not on this machine", f"hotline keys new {role}, where it is needed")
    signer = policy.load_signers(here.workspace).with_key(public)
    if signer is None or role not in signer.roles:
        return Finding(
            f"{role} key", "missing", f"{public[:16]}… may not sign", "list it in policy/signers.yaml, by review"
        )
    return Finding(f"{role} key", "ok", signer.name)


def _ledger(here: Settings) -> str:
    from hotline.ledger import Ledger

    chain = Ledger.of(here).read()
    return f"{len(chain.entries)} entries, all verified; champions: {', '.join(chain.champions()) or 'none'}"


def _mlflow(here: Settings) -> str:
    from hotline import registry

    registry.connect(here.tracking_uri)
    return here.tracking_uri


def _try(what: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", probe())
    except HotlineError as error:
        return Finding(what, "broken", error.what, error.next or "")
