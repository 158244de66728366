"""The small interface of engines: they supply a family's `forward`, in this process or in a Triton server.

`prepare` and `decode` stay the family's, so the answers are the judged ones. Writers have an engine of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from hotline.errors import InputError
from hotline.families import Family
from hotline.task import Task

EngineName = Literal["in process", "triton"]


class TritonPlace(BaseModel):
    """A Triton server: where it answers, and the model repository that it was started with, which we write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    """Of its gRPC port, `host:port`."""
    repository: Path
    backend: Literal["python", "onnxruntime"] = "python"
    """What runs the graph there: Triton's ONNX Runtime backend, or onnxruntime in its Python backend."""
    packages: Path | None = None
    """Where the Python backend finds onnxruntime; None: the server's own Python has it."""
    threads: int = 1
    timeout_seconds: float = 20.0


class Engine(Protocol):
    """What supplies `forward` for one version."""

    def open(self, folder: Path, model: Any) -> None:
        """Take the version's verified files, whose model was loaded. Raises IntegrityError, UnavailableError."""

    def forward(self, model: Any, batch: Mapping[str, Any]) -> Any:
        """The state that the family's `decode` reads. Raises UnavailableError when the engine does not answer."""

    def check(self) -> None:
        """Raises UnavailableError when it does not answer any more, IntegrityError when it holds other bytes."""

    def close(self) -> None:
        """Give back what it took."""


class InProcess:
    """The family's own `forward`: torch, or onnxruntime for a version that was converted."""

    def __init__(self, family: Family) -> None:
        self.forward = family.forward

    def open(self, folder: Path, model: Any) -> None: ...

    def check(self) -> None: ...

    def close(self) -> None: ...


def find(task: Task, family: Family, digest: str, name: EngineName, place: TritonPlace | None) -> Engine:
    """The engine of that name for one version. Raises InputError for a family that it cannot run."""
    if name == "in process":
        return InProcess(family)
    refuse_unfit(task, name)
    if place is None:
        raise InputError("no Triton server was named", where=task.name, next="hotline serve --triton HOST:PORT")
    from serving.engines.triton import Triton

    return Triton(task.name, family, digest, place)


def refuse_unfit(task: Task, name: EngineName) -> None:
    """Raises InputError when a task's family cannot be run by that engine."""
    if name == "triton" and task.family != "classifier":
        raise InputError(
            f"Triton does not run a {task.family}",
            where=f"--engine {task.name}=triton",
            expected="a task of the family classifier",
            next=f"leave {task.name} in process",
        )
