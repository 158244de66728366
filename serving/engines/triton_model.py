"""Runs in Triton's Python backend, where nothing of this project is: onnxruntime on the graph beside this file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).with_name("packages")
if PACKAGES.is_file():  # where numpy and onnxruntime are; Triton's own helpers import numpy right after this file
    sys.path.insert(0, PACKAGES.read_text(encoding="utf-8").strip())


class TritonPythonModel:
    """The class that the backend looks for."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the graph; a parameter says how many threads it may use."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        told = json.loads(args["model_config"])["parameters"]["hotline_threads"]
        options.intra_op_num_threads = int(told["string_value"])
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A response per request; a request is one batch."""
        import triton_python_backend_utils as backend

        responses = []
        for request in requests:
            given = {name: backend.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            found = self._session.run(self._outputs, given)
            tensors = [backend.Tensor(name, each) for name, each in zip(self._outputs, found, strict=True)]
            responses.append(backend.InferenceResponse(tensors))
        return responses
