"""DeepSpeed over two CPU ranks, from the command line as a person starts it, without a compiler on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from data import calls
from data.ingest import import_table
from data.mapping import load as load_mapping
from hotline import registry
from hotline.errors import RecipeError
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import workspace as workspaces
from training.recipe import load, parse

TINY = {
    "name": "tiny",
    "task": "transcription",
    "also": ["dialect_identification"],
    "seed": 1,
    "model": {"architecture": "ctc", "width": 32, "layers": 1, "heads": 2, "stem_channels": 8, "subsampling": 8},
    "optimiser": {"learning_rate": 1e-3},
    "trainer": {
        "max_epochs": 1,
        "batch_rows": 8,
        "log_steps": 1,
        "devices": 2,
        "deepspeed": "../deepspeed/zero2.json",
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace with two minutes of generated calls."""
    here = workspaces.create(tmp_path_factory.mktemp("speech"), "demo", "demo", demo_keys=True)
    folder = here.workspace / "data" / "incoming" / "calls"
    calls.generate(folder, 0.04, 3)
    import_table(here, find("transcription"), load_mapping(here.workspace / "data/mappings/calls.yaml"), [folder])
    (here.recipes / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return here


def without_compilers(folder: Path) -> str:
    """A PATH with Python and git, and no compiler."""
    folder.mkdir()
    for name in ("git", "uname", "hostname"):
        found = next((Path(p) / name for p in os.environ["PATH"].split(":") if (Path(p) / name).exists()), None)
        if found:
            (folder / name).symlink_to(found)
    return f"{Path(sys.executable).parent}:{folder}"


def test_two_ranks_register_one_version_that_answers_two_tasks(site: Settings, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": without_compilers(tmp_path / "bin"), "CC": "", "CXX": ""}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hotline"), "--workspace", str(site.workspace), "train", "tiny"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    address = ModelAddress.model_validate_json((site.models / "tiny" / "model.json").read_text())
    client = registry.connect(site.tracking_uri)
    folder = registry.fetch(client, address, site.verified)
    lineage = Lineage.model_validate_json((folder / LINEAGE_FILE).read_text())
    assert list(lineage.declarations) == ["transcription", "dialect_identification"]
    assert lineage.recipe == load(site.recipes / "tiny.yaml").digest
    assert [version["version"] for version in registry.versions(client, "tiny")] == ["1"]
    steps = [metric.step for metric in client.get_metric_history(address.run_id, "train/loss")]
    assert steps == sorted(set(steps))  # one rank tracks, not two


@pytest.mark.slow
def test_torchrun_starts_the_same_recipe_on_two_nodes(site: Settings, tmp_path: Path) -> None:
    content = {**TINY, "name": "nodes", "trainer": {**TINY["trainer"], "devices": 1, "nodes": 2, "accelerator": "cpu"}}
    (site.recipes / "nodes.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scripts = Path(sys.executable).parent
    nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    hotline = [str(scripts / "hotline"), "--workspace", str(site.workspace), "train", "nodes"]
    started = [
        subprocess.Popen(
            [str(scripts / "torchrun"), *nodes, "--node-rank", str(rank), *hotline], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [node.communicate()[1] for node in started]
    assert [node.returncode for node in started] == [0, 0], said
    address = ModelAddress.model_validate_json((site.models / "nodes" / "model.json").read_text())
    client = registry.connect(site.tracking_uri)
    assert [version["version"] for version in registry.versions(client, "nodes")] == ["1"]
    assert client.get_run(address.run_id).data.metrics["throughput/share_communication"] > 0  # they did speak


def test_the_recipe_covers_the_deepspeed_file_by_its_content(site: Settings) -> None:
    before = load(site.recipes / "tiny.yaml")
    file = site.recipes.parent / "deepspeed" / "zero2.json"
    file.write_text(file.read_text().replace('"stage": 2', '"stage": 1'))
    assert load(site.recipes / "tiny.yaml").digest != before.digest


def test_a_deepspeed_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    content = {**TINY, "trainer": {**TINY["trainer"], "deepspeed": "zero9.json"}}
    with pytest.raises(RecipeError, match="DeepSpeed configuration cannot be read"):
        parse(content, str(tmp_path / "tiny.yaml"))


def test_several_devices_without_deepspeed_are_refused(tmp_path: Path) -> None:
    content = {**TINY, "trainer": {"max_epochs": 1, "batch_rows": 8, "devices": 2}}
    with pytest.raises(RecipeError, match="devices: more than one needs deepspeed"):
        parse(content, str(tmp_path / "tiny.yaml"))


def test_a_task_of_another_corpus_cannot_be_answered_by_the_same_model(tmp_path: Path) -> None:
    content = {**TINY, "also": ["ticket_category"], "trainer": {"max_epochs": 1, "batch_rows": 8}}
    with pytest.raises(RecipeError, match="ticket_category is not answered by the family and corpus"):
        parse(content, str(tmp_path / "tiny.yaml"))
