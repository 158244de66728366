"""A converted version's `forward`: a graph in a file of its own, which onnxruntime runs in place of torch.

Whoever loads a version with that file answers by it, wherever that is: what is judged is what is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hotline.errors import IntegrityError, UnavailableError

GRAPH_FILE = "model.onnx"
INSTALL = "pip install 'hotline[onnx]'"


class Graph:
    """Named tensors → named tensors, on the CPU, with as many threads as torch had when it was loaded."""

    def __init__(self, file: Path) -> None:
        """Raises UnavailableError without onnxruntime, IntegrityError for a file that is no graph."""
        try:
            import onnxruntime
        except ImportError as error:
            raise UnavailableError(
                "a version converted to ONNX needs onnxruntime", where=str(file), found=error, next=INSTALL
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no ancestor
            raise IntegrityError(
                "the graph cannot be loaded", where=str(file), found=error, next="hotline export the version again"
            ) from error
        self.inputs: tuple[str, ...] = tuple(each.name for each in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(each.name for each in self._session.get_outputs())

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        given = {name: batch[name].numpy() for name in self.inputs}
        found: Sequence[np.ndarray[Any, Any]] = self._session.run(self.outputs, given)
        return {name: torch.from_numpy(each) for name, each in zip(self.outputs, found, strict=True)}

    def signature(self) -> dict[str, list[tuple[str, str, tuple[int, ...]]]]:
        """`input` and `output`: name, ONNX type and shape of each tensor; −1 is any length."""
        sides = {"input": self._session.get_inputs(), "output": self._session.get_outputs()}
        return {
            side: [(each.name, each.type, tuple(n if isinstance(n, int) else -1 for n in each.shape)) for each in both]
            for side, both in sides.items()
        }


def find(folder: Path) -> Graph | None:
    """The version's graph; None where torch answers."""
    file = folder / GRAPH_FILE
    return Graph(file) if file.is_file() else None
