"""A cluster answers what this machine answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotline.errors import IntegrityError
from hotline.ledger import Ledger
from hotline.records import ModelAddress, Verdict
from hotline.settings import Settings
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """A cluster of two nodes on this machine; gives its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def judged(here: Settings, *how: str, **environment: str) -> tuple[bytes, Verdict]:
    """The bytes of the answers, and the verdict, of a first judgement."""
    for path in (here.state / "ledger.db", here.ledger_head):
        path.unlink(missing_ok=True)
    shutil.rmtree(here.verdicts, ignore_errors=True)
    command = [str(Path(sys.executable).parent / "hotline"), "--workspace", str(here.workspace), "judge", "tickets"]
    told = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([*command, *how], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    verdict = Ledger.of(here).read().entries[-1].record
    assert isinstance(verdict, Verdict)
    return (here.verdicts / "tickets" / TASK.name / "answers.parquet").read_bytes(), verdict


def test_two_nodes_of_ray_answer_what_this_machine_answers(workspace_copy: Settings, two_nodes: str) -> None:
    local, here = judged(workspace_copy)
    on_ray, there = judged(workspace_copy, "--on", "ray", RAY_ADDRESS=two_nodes)
    assert on_ray == local
    assert there.model_copy(update={"time": here.time}) == here


def test_an_actor_whose_copy_of_the_version_was_edited_says_so(
    workspace_copy: Settings, candidate: ModelAddress, two_nodes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from data.store import open_snapshot
    from evaluation import on_ray
    from evaluation.answers import Batch
    from hotline import registry

    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    rows, snapshot = open_snapshot(workspace_copy, TASK).rows("test"), open_snapshot(workspace_copy, TASK).digest
    folder = registry.fetch(registry.connect(workspace_copy.tracking_uri), candidate, workspace_copy.verified)
    (folder / "model.safetensors").chmod(0o644)
    with (folder / "model.safetensors").open("ab") as stream:
        stream.write(b"more")
    batches = [Batch(0, rows.inputs[:8])]
    try:
        with pytest.raises(IntegrityError, match="not those that were judged"):
            list(on_ray.answer(workspace_copy, TASK, candidate, batches, snapshot=snapshot, ids=rows.ids))
    finally:
        ray.shutdown()
