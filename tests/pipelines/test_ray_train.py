"""The same recipe on a Ray cluster learns the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from data import synthetic
from data.ingest import import_table
from data.mapping import load as load_mapping
from hotline import registry
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import workspace as workspaces

RECIPE = {
    "task": "ticket_category",
    "seed": 5,
    "model": {"encoder": "ngrams", "width": 16, "bucket_bits": 16},
    "optimiser": {"learning_rate": 5e-3},
    "trainer": {"max_epochs": 2, "budget": 2500, "log_steps": 1, "devices": 2, "accelerator": "cpu"}
    | {"deepspeed": "../deepspeed/zero1.json"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    here = workspaces.create(tmp_path_factory.mktemp("ray"), "demo", "demo", demo_keys=True)
    table = here.workspace / "data" / "incoming" / "tickets.xlsx"
    table.parent.mkdir(parents=True)
    synthetic.write_xlsx(table, 400, 11)
    mapping = load_mapping(here.workspace / "data/mappings/tickets.yaml")
    import_table(here, find("ticket_category"), mapping, [table])
    for name in ("local", "on_ray"):
        (here.recipes / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **RECIPE}), encoding="utf-8")
    return here


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """A cluster of two nodes on this machine; gives its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def losses(site: Settings, name: str) -> list[float]:
    client = registry.connect(site.tracking_uri)
    [version] = registry.versions(client, name)
    history = client.get_metric_history(version["run_id"], "train/loss")
    return [metric.value for metric in sorted(history, key=lambda metric: metric.step)]


@pytest.mark.slow
def test_two_nodes_of_ray_learn_what_two_local_ranks_learn(site: Settings, two_nodes: str) -> None:
    import os

    hotline = [str(Path(sys.executable).parent / "hotline"), "--workspace", str(site.workspace), "train"]
    environment = {**os.environ, "RAY_ADDRESS": two_nodes, "OMP_NUM_THREADS": "1"}
    for arguments in (["local"], ["on_ray", "--on", "ray"]):
        done = subprocess.run([*hotline, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    local, on_ray = losses(site, "local"), losses(site, "on_ray")
    assert len(local) > 4
    assert on_ray == pytest.approx(local, abs=1e-4)
