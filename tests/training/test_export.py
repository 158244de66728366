"""A version converted to ONNX is a version of its own: judged by the graph, promoted and refused like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed: make setup")

from data.store import open_snapshot
from evaluation.gate import judge
from evaluation.promote import promote
from hotline import families, registry
from hotline.errors import InputError, IntegrityError, RefusedError
from hotline.families import classifier, graphs
from hotline.ledger import Ledger
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines.cli import app
from training import export as exporting
from training.export import export

TASK = find("ticket_category")


@pytest.fixture(autouse=True)
def _artefacts_of_the_copy() -> None:
    """MLflow remembers a run's folder by its id alone, and the copy's run has the original's."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


@pytest.fixture
def converted(workspace_copy: Settings, champion: ModelAddress) -> ModelAddress:
    return export(workspace_copy, TASK, champion).address


def folder_of(here: Settings, address: ModelAddress) -> Path:
    return registry.fetch(registry.connect(here.tracking_uri), address, here.verified)


def test_a_graph_is_a_new_version_that_names_its_source_and_earns_its_own_endpoint(
    workspace_copy: Settings, champion: ModelAddress, converted: ModelAddress
) -> None:
    assert (converted.line, converted.version != champion.version) == (champion.line, True)
    assert export(workspace_copy, TASK, champion).address == converted
    lineage = Lineage.model_validate(json.loads((folder_of(workspace_copy, converted) / LINEAGE_FILE).read_text()))
    assert lineage.converted is not None
    assert (lineage.converted.source, lineage.converted.to) == (champion.digest, "onnx")
    with pytest.raises(RefusedError, match="no verdict"):
        promote(workspace_copy, TASK, converted, "test")
    _, verdict = judge(workspace_copy, TASK, converted, progress=False)
    assert verdict.outcome == "passed"
    assert verdict.evidence.lineage == lineage
    assert "onnxruntime" in verdict.libraries
    promote(workspace_copy, TASK, converted, "test")
    answering = Ledger.of(workspace_copy).read().champion(TASK.name)
    assert answering is not None
    assert answering.record.model == converted


def test_the_graph_answers_in_place_of_the_layers_and_as_they_do(
    workspace_copy: Settings, champion: ModelAddress, converted: ModelAddress
) -> None:
    model = classifier.load(folder_of(workspace_copy, champion), TASK)
    graph = classifier.load(folder_of(workspace_copy, converted), TASK)
    inputs = open_snapshot(workspace_copy, TASK).rows("test").inputs[:200]
    expected = families.answer(classifier, model, inputs)  # type: ignore[arg-type]
    for head in graph.heads.parameters():
        head.data.zero_()  # the layers themselves answer nothing any more
    for one, other in zip(expected, families.answer(classifier, graph, inputs), strict=True):  # type: ignore[arg-type]
        assert one.target == other.target
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_the_command_gives_back_the_same_version_and_says_how_far_it_is_from_torch(
    workspace_copy: Settings, champion: ModelAddress, converted: ModelAddress
) -> None:
    place, name = str(workspace_copy.workspace), f"{champion.line}@{champion.version}"
    done = CliRunner().invoke(app, ["--workspace", place, "export", name, "--to", "onnx", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (told["version"], told["digest"]) == (converted.version, converted.digest)
    assert told["largest_difference"] <= exporting.TOLERANCE


def test_a_graph_that_answers_otherwise_is_not_registered(
    workspace_copy: Settings, champion: ModelAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = exporting.write_graph

    def of_another_model(family: object, model: classifier.Classifier, *rest: object) -> None:
        model.temperature.mul_(1.5)
        write(family, model, *rest)  # type: ignore[arg-type]
        model.temperature.div_(1.5)

    monkeypatch.setattr(exporting, "write_graph", of_another_model)
    client = registry.connect(workspace_copy.tracking_uri)
    before = registry.versions(client)
    with pytest.raises(RefusedError, match="does not answer as the version"):
        export(workspace_copy, TASK, champion)
    assert registry.versions(client) == before


def test_a_graph_is_not_converted_again_and_a_broken_one_is_named(
    workspace_copy: Settings, converted: ModelAddress, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a graph already"):
        export(workspace_copy, TASK, converted)
    broken = tmp_path / graphs.GRAPH_FILE
    broken.write_bytes(b"no graph")
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        graphs.find(tmp_path)
