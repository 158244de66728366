"""The engine that asks a Triton server: it runs the version's graph, out of a repository that we wrote for it.

Every opening writes a fresh mark into the model's configuration. A server that shows this mark has read our folder;
one that shows another holds other bytes, and is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hotline.errors import HotlineError, IntegrityError, RefusedError, UnavailableError
from hotline.families import graphs
from hotline.requests import DIGEST_CHARACTERS
from hotline.task import Task
from hotline.tasks import find
from serving.engines import triton_repository
from serving.engines.engine import TritonPlace

TOLERANCE = 1e-4
"""Largest difference of a value of the state between the server and the graph in this process."""


class Triton:
    """`forward` of one version, by one server."""

    def __init__(self, task: str, family: Any, digest: str, place: TritonPlace) -> None:
        import tritonclient.grpc as triton

        self._task, self._family, self._digest, self._place = find(task), family, digest, place
        self._name = f"{task}-{digest[:DIGEST_CHARACTERS]}"
        self._triton: Any = triton
        self._client: Any = triton.InferenceServerClient(place.address)
        self._mark, self._outputs, self._types = "", tuple[str, ...](), dict[str, str]()

    def open(self, folder: Path, model: Any) -> None:
        """Write the graph into the repository, have the server load it, and compare what it answers.

        Raises RefusedError for a version without a graph, IntegrityError for a server with other bytes or answers,
        UnavailableError for one that does not answer.
        """
        graph = graphs.find(folder)
        if graph is None:
            raise RefusedError(
                "Triton runs versions that were converted to ONNX",
                where=self._task.name,
                found="a version as it was trained",
                next="hotline export it, judge and promote what comes out; or serve it in process",
            )
        self._outputs = graph.outputs
        self._types = {name: triton_repository.CLIENT_TYPES[kind] for name, kind, _ in graph.signature()["input"]}
        written = triton_repository.write(self._place, self._name, folder, graph, self._digest)
        self._mark = written.mark
        self._reach(lambda: self._client.load_model(self._name, client_timeout=self._place.timeout_seconds))
        self.check()
        written.check()
        self._compare(model, graph)

    def forward(self, model: Any, batch: Mapping[str, Tensor]) -> Any:
        given = [self._input(name, batch[name]) for name in self._types]
        asked = [self._triton.InferRequestedOutput(name) for name in self._outputs]
        reply: Any = self._reach(
            lambda: self._client.infer(self._name, given, outputs=asked, client_timeout=self._place.timeout_seconds)
        )
        return self._family.of_tensors(
            {name: torch.from_numpy(np.array(reply.as_numpy(name))) for name in self._outputs}
        )

    def check(self) -> None:
        seconds = self._place.timeout_seconds
        told: Any = self._reach(lambda: self._client.get_model_config(self._name, as_json=True, client_timeout=seconds))
        parameters = told["config"].get("parameters", {})
        found = {name: value.get("string_value") for name, value in parameters.items()}
        if found.get(triton_repository.MARK) != self._mark:
            raise IntegrityError(
                "the Triton server holds other bytes than those that we wrote for it",
                where=f"{self._place.address}, model {self._name}",
                found=f"mark {found.get(triton_repository.MARK) or 'none'}",
                expected=f"mark {self._mark}, as in {self._place.repository}",
                next="start tritonserver with --model-repository on that folder and --model-control-mode explicit",
            )

    def close(self) -> None:
        try:
            self._reach(lambda: self._client.unload_model(self._name, client_timeout=self._place.timeout_seconds))
        except HotlineError:
            return  # a server that is gone has unloaded it

    def _input(self, name: str, tensor: Tensor) -> Any:
        given = self._triton.InferInput(name, list(tensor.shape), self._types[name])
        given.set_data_from_numpy(tensor.numpy())
        return given

    def _reach(self, call: Callable[[], Any]) -> Any:
        from tritonclient.utils import InferenceServerException

        try:
            return call()
        except InferenceServerException as error:
            raise UnavailableError(
                "the Triton server does not answer as it should",
                where=f"{self._place.address}, model {self._name}",
                found=" ".join(f"{error.status() or ''} {error.message()}".split())[:300],
                expected=f"tritonserver on {self._place.repository}, started with --model-control-mode explicit",
                next="start it again; this engine finds it by itself",
            ) from error

    def _compare(self, model: Any, graph: graphs.Graph) -> None:
        """Raises IntegrityError when the server's states for the task's examples are not the graph's."""
        batch = self._family.prepare(model, _examples(self._task))
        here, there = graph(batch), self._family.to_tensors(self.forward(model, batch))
        apart = max(float((here[name] - there[name]).abs().max()) for name in self._outputs)
        if not apart <= TOLERANCE:
            raise IntegrityError(
                "the Triton server does not answer as the graph that was judged",
                where=f"{self._place.address}, model {self._name}",
                found=f"a difference of {apart:.2g}",
                expected=f"at most {TOLERANCE:g}",
                next=f"serve {self._task.name} in process",
            )


def _examples(task: Task) -> list[Any]:
    return [task.input.model_validate(example) for example in task.examples]
