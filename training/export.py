"""A registered version's `forward` as an ONNX graph: a version of its own, with a verdict of its own to earn."""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as library_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hotline import families, registry
from hotline.conversions import Conversion
from hotline.errors import InputError, RefusedError, UnavailableError
from hotline.families import graphs
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Input, Task
from training import track

EXPORTERS = ("torch", "onnx", "onnxscript")
OPSET = 20
TOLERANCE = 1e-4
"""Largest difference of a probability between the graph and torch, both in 32 bits."""


@dataclass(frozen=True)
class Exported:
    """The converted version, and how far its probabilities were from torch's."""

    address: ModelAddress
    largest_difference: float


def export(settings: Settings, task: Task, address: ModelAddress) -> Exported:
    """Convert the version's `forward` to ONNX and register what comes out as the line's next version.

    Converted again, the same version is given back. Raises InputError for a family without a graph or a version that is
    one already, RefusedError when the graph does not answer as torch does, UnavailableError without the exporter.
    """
    refuse_without_exporter()
    client = registry.connect(settings.tracking_uri)
    source = registry.fetch(client, address, settings.verified)
    lineage = Lineage.model_validate_json((source / LINEAGE_FILE).read_text(encoding="utf-8"))
    answering = lineage.family or task.family
    family: Any = families.find(answering)
    if not hasattr(family, "to_tensors"):
        raise InputError(f"a {answering} has no graph", where=task.name, expected="a version of a classifier")
    if graphs.GRAPH_FILE in address.files:
        raise InputError(f"{address.line}@{address.version} is a graph already", next="name the version it came from")
    converted = lineage.model_copy(update={"converted": _conversion(address)})
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "version"
        shutil.copytree(source, made, copy_function=shutil.copyfile)
        model, examples = family.load(source, task), _examples(task)
        write_graph(family, model, examples, made / graphs.GRAPH_FILE)
        (made / LINEAGE_FILE).write_text(converted.model_dump_json(indent=1), encoding="utf-8")
        apart = _parity(family, model, family.load(made, task), examples)
        tags = track.version_tags(converted)
        return Exported(registry.register(client, address.line, address.run_id, made, tags), apart)


def refuse_without_exporter() -> None:
    """Raises UnavailableError when a library that converts or runs graphs is not installed."""
    missing = [name for name in (*EXPORTERS, "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UnavailableError("the ONNX exporter is not installed", found=f"no {missing[0]}", next=graphs.INSTALL)


def write_graph(family: Any, model: torch.nn.Module, examples: Sequence[Input], file: Path) -> None:
    """The family's `forward` of that model as a graph for batches of any number of rows and any length."""
    batch = family.prepare(model, examples)
    shapes = {name: dict.fromkeys(range(each.ndim), torch.export.Dim.DYNAMIC) for name, each in batch.items()}
    module = _Forward(model, family.forward, family.to_tensors, tuple(batch)).eval()
    with torch.inference_mode():
        outputs = list(family.to_tensors(family.forward(model, batch)))
    with _quiet():
        program: Any = torch.onnx.export(
            module,
            tuple(batch.values()),
            input_names=list(batch),
            output_names=outputs,
            opset_version=OPSET,
            dynamic_shapes=(tuple(shapes.values()),),
            dynamo=True,
            verbose=False,
        )
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces: the same model makes the same bytes wherever it is converted
    program.save(file, external_data=False)


class _Forward(torch.nn.Module):
    """A family's `forward` with a tensor per argument."""

    def __init__(
        self,
        model: torch.nn.Module,
        forward: Callable[..., Any],
        to_tensors: Callable[[Any], Mapping[str, Tensor]],
        names: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.model, self._run, self._to_tensors, self._names = model, forward, to_tensors, names

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        batch = dict(zip(self._names, tensors, strict=True))
        return tuple(self._to_tensors(self._run(self.model, batch)).values())


def _conversion(address: ModelAddress) -> Conversion:
    return Conversion(
        source=address.digest,
        name=f"{address.line}@{address.version}",
        to="onnx",
        exporter={name: library_version(name).partition("+")[0] for name in EXPORTERS},
    )


def _examples(task: Task) -> list[Input]:
    """The task's examples, several times: a length of one would be taken for a constant."""
    examples = [task.input.model_validate(example) for example in task.examples]
    return (examples * 3)[: max(3, len(examples))]


def _parity(family: Any, model: Any, graph: Any, examples: Sequence[Input]) -> float:
    """The largest difference of a probability, alone and in batches. Raises RefusedError beyond TOLERANCE."""
    largest = 0.0
    for rows in (*([each] for each in examples), list(examples), list(examples) * 7):
        pairs = zip(families.answer(family, model, rows), families.answer(family, graph, rows), strict=True)
        largest = max([largest, *(_apart(torchs, graphs_) for torchs, graphs_ in pairs)])
    if largest > TOLERANCE:
        raise RefusedError(
            "the graph does not answer as the version that it was made from",
            found=f"a probability differs by {largest:.2g}",
            expected=f"at most {TOLERANCE:g}",
            next="serve the version itself, in process",
        )
    return largest


def _apart(one: Answer, other: Answer) -> float:
    """Infinite when they say different things."""
    if one.target != other.target:
        return float("inf")
    shares = {target.model_dump_json(): share for target, share in one.alternatives}
    named = [(shares.get(target.model_dump_json()), share) for target, share in other.alternatives]
    both = [(one.confidence, other.confidence), *named]
    return max(abs(a - b) for a, b in both if a is not None and b is not None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes about its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
