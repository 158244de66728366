"""The model repository that a Triton server reads: config.pbtxt and a folder for the version, written by us.

NAME/config.pbtxt         backend, tensors, and as parameters the version's digest and a mark of this writing
NAME/1/model.onnx         the judged graph, read-only
NAME/1/model.py           for Triton's Python backend: onnxruntime on that graph, out of the folder that
NAME/1/packages           names, where the server's own Python has none
"""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from hotline import digests
from hotline.errors import IntegrityError
from hotline.families.graphs import GRAPH_FILE, Graph
from serving.engines.engine import TritonPlace

CONFIG, VERSION, SCRIPT, PACKAGES = "config.pbtxt", "1", "model.py", "packages"
MARK, DIGEST, THREADS = "hotline_mark", "hotline_digest", "hotline_threads"
MODEL_SCRIPT = Path(__file__).with_name("triton_model.py")
CONFIG_TYPES = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64", "tensor(bool)": "TYPE_BOOL"}
CLIENT_TYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(bool)": "BOOL"}


@dataclass(frozen=True)
class Written:
    """One version's folder in the repository, and what was written there."""

    folder: Path
    mark: str
    files: dict[str, str]

    def check(self) -> None:
        """Raises IntegrityError naming a file that is not the one that was written."""
        found = {name: each for name, each in digests.of_files(self.folder).items() if "__pycache__" not in name}
        changed = sorted(name for name in found.keys() | self.files.keys() if found.get(name) != self.files.get(name))
        if changed:
            raise IntegrityError(
                "the Triton repository was edited: its bytes are not those that were judged",
                where=str(self.folder / changed[0]),
                found=found.get(changed[0], "no file")[:12],
                expected=self.files.get(changed[0], "no file")[:12],
                next="let nobody but serving write there; it is written anew when serving starts again",
            )


def write(place: TritonPlace, name: str, version: Path, graph: Graph, digest: str) -> Written:
    """Put the version's graph into the repository, in place of what was there under that name.

    Raises IntegrityError when the folder cannot be written.
    """
    folder, mark = place.repository / name, secrets.token_hex(16)
    texts = {CONFIG: config(place, name, graph, {MARK: mark, DIGEST: digest})}
    if place.backend == "python":
        texts[f"{VERSION}/{SCRIPT}"] = MODEL_SCRIPT.read_text(encoding="utf-8")
        if place.packages:
            texts[f"{VERSION}/{PACKAGES}"] = f"{place.packages}\n"
    try:
        if folder.exists():
            shutil.rmtree(folder)
        (folder / VERSION).mkdir(parents=True)
        shutil.copyfile(version / GRAPH_FILE, folder / VERSION / GRAPH_FILE)
        for path, text in texts.items():
            (folder / path).write_text(text, encoding="utf-8")
        for written in folder.rglob("*.*"):
            written.chmod(0o444)
    except OSError as error:
        raise IntegrityError(
            "the Triton repository cannot be written", where=str(folder), found=error, next="give serving the right to"
        ) from error
    files = {path: digests.of_text(text) for path, text in texts.items()}
    return Written(folder, mark, files | {f"{VERSION}/{GRAPH_FILE}": digests.of_file(version / GRAPH_FILE)})


def config(place: TritonPlace, name: str, graph: Graph, parameters: dict[str, str]) -> str:
    """config.pbtxt: any number of rows and any length, one instance on the CPU, no batching of the server's own."""
    more = {THREADS: str(place.threads)} if place.backend == "python" else {}
    lines = [f"name: {json.dumps(name)}", f'backend: "{place.backend}"', "max_batch_size: 0"]
    for side, tensors in graph.signature().items():
        lines += [
            f"{side} {{ name: {json.dumps(each)} data_type: {CONFIG_TYPES[kind]} dims: {list(shape)} }}"
            for each, kind, shape in tensors
        ]
    lines.append("instance_group { kind: KIND_CPU count: 1 }")
    lines += [
        f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
        for key, value in {**parameters, **more}.items()
    ]
    return "\n".join(lines) + "\n"
