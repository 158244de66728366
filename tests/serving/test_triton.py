"""Triton supplies `forward` out of a repository that we wrote, or is refused; which engine serves is declared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed: make setup")

from hotline import digests, families, settings
from hotline.errors import InputError, IntegrityError, RefusedError, UnavailableError
from hotline.families import classifier, graphs
from hotline.records import LINEAGE_FILE, ModelAddress
from hotline.tasks import find
from serving.engines import engine, triton_repository, triton_server
from serving.engines.choice import options
from serving.engines.engine import TritonPlace
from serving.replica import Options
from serving.run import start
from training.export import write_graph

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
TEXTS = ("路灯坏了三天没人修", "井盖", "公交晚点" * 40, "施工噪音扰民", "喂喂", "zz")
TOLERANCE = 1e-5


def question(text: str) -> Any:
    return TASK.input.model_validate({"text": text})


QUESTIONS = [question(text) for text in TEXTS] * 5


def graph_version(site: Site, number: int = 1) -> ModelAddress:
    """A version of the site as `hotline export` makes one."""
    source = site.settings.verified / site.version(number).digest
    folder = site.settings.state / f"made-graph-{number}"
    shutil.copytree(source, folder)
    (folder / LINEAGE_FILE).unlink()
    write_graph(classifier, classifier.load(source, TASK), QUESTIONS[:4], folder / graphs.GRAPH_FILE)
    return site._kept(folder, "tickets", 100 + number, {TASK.name: digests.of_value(TASK.declaration())})


@pytest.fixture
def place(tmp_path: Path) -> TritonPlace:
    """Where no server answers."""
    return TritonPlace(address="127.0.0.1:9", repository=tmp_path / "repository", timeout_seconds=2)


def triton(digest: str, place: TritonPlace) -> Any:
    return engine.find(TASK, families.find(TASK.family), digest, "triton", place)


def test_engines_are_declared_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    here = settings.Settings(workspace=tmp_path, tracking_uri="", ledger_url="", keys=tmp_path)
    chosen = options(here, [f"{TASK.name}=triton"], "gpu7:8001", tmp_path, "onnxruntime")
    assert chosen.engines == {TASK.name: "triton"}
    assert chosen.triton is not None
    assert (chosen.triton.address, chosen.triton.backend) == ("gpu7:8001", "onnxruntime")
    assert options(here, [], None, None, "python") == Options()
    for named, words in ((f"{TASK.name}=vllm", "no such engine"), ("ticket_summary=triton", "does not run a writer")):
        with pytest.raises(InputError, match=words):
            options(here, [named], None, None, "python")
    with pytest.raises(InputError, match="by its address and by its model repository"):
        options(here, [], "gpu7:8001", None, "python")


def test_triton_without_a_server_is_refused_before_anything_starts(site: Site, free_port: int, tmp_path: Path) -> None:
    site.champion(1)
    without = site.settings.model_copy(update={"triton": tmp_path / "none"})
    with pytest.raises(UnavailableError, match="no tritonserver on this machine") as caught:
        start(without, free_port, Options(engines={TASK.name: "triton"}))
    assert "make triton" in str(caught.value)


def test_a_version_as_it_was_trained_is_not_given_to_triton(site: Site, place: TritonPlace) -> None:
    model = site.version(1)
    folder = site.settings.verified / model.digest
    with pytest.raises(RefusedError, match="converted to ONNX") as caught:
        triton(model.digest, place).open(folder, classifier.load(folder, TASK))
    assert "hotline export" in str(caught.value)


def test_a_server_that_cannot_be_reached_is_named(site: Site, place: TritonPlace) -> None:
    model = graph_version(site)
    folder = site.settings.verified / model.digest
    with pytest.raises(UnavailableError, match=place.address):
        triton(model.digest, place).open(folder, classifier.load(folder, TASK))


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_a_flipped_byte_in_the_repository_or_in_the_version_is_named(
    site: Site, place: TritonPlace, backend: Any, free_port: int
) -> None:
    model = graph_version(site)
    site.promote(model, site.judge(model).hash)
    folder = site.settings.verified / model.digest
    chosen = place.model_copy(update={"backend": backend})
    graph = graphs.find(folder)
    assert graph is not None
    written = triton_repository.write(chosen, "model", folder, graph, model.digest)
    written.check()
    text = (written.folder / "config.pbtxt").read_text()
    assert f'backend: "{backend}"' in text
    assert written.mark in text
    assert "dims: [-1, 4]" in text
    for path in (written.folder / "1" / graphs.GRAPH_FILE, folder / graphs.GRAPH_FILE):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=graphs.GRAPH_FILE):
        written.check()
    with pytest.raises(IntegrityError, match=graphs.GRAPH_FILE):
        start(site.settings, free_port, Options(engines={TASK.name: "triton"}, triton=place))


@pytest.fixture
def server(site: Site) -> Iterator[triton_server.Server]:
    """A real tritonserver."""
    if not (site.settings.triton / "bin" / "tritonserver").is_file():
        pytest.skip(f"no tritonserver in {site.settings.triton}: make triton")
    running = triton_server.launch(site.settings)
    yield running
    running.stop()


def again(site: Site, server: triton_server.Server) -> triton_server.Server:
    """The server after a restart, at the same place; it has loaded nothing."""
    server.process.kill()
    server.process.wait()
    port = int(server.place.address.rpartition(":")[2])
    fresh = triton_server.launch(site.settings, port=port, repository=server.place.repository)
    server.process = fresh.process
    return server


@pytest.mark.slow
def test_triton_answers_as_the_judged_graph_does(site: Site, server: triton_server.Server) -> None:
    model = graph_version(site)
    folder = site.settings.verified / model.digest
    loaded = classifier.load(folder, TASK)
    asked = triton(model.digest, server.place)
    asked.open(folder, loaded)
    for rows in (1, 7, 30):
        judged = families.answer(classifier, loaded, QUESTIONS, rows)  # type: ignore[arg-type]
        served = families.answer(classifier, loaded, QUESTIONS, rows, None, asked.forward)  # type: ignore[arg-type]
        for one, other in zip(judged, served, strict=True):
            assert one.target == other.target
            assert one.confidence == pytest.approx(other.confidence, abs=TOLERANCE)
    asked.close()


@pytest.mark.slow
def test_a_server_with_other_bytes_is_refused_and_one_that_restarts_is_opened_again(
    site: Site, server: triton_server.Server, tmp_path: Path
) -> None:
    model = graph_version(site)
    folder = site.settings.verified / model.digest
    loaded = classifier.load(folder, TASK)
    asked = triton(model.digest, server.place)
    asked.open(folder, loaded)
    elsewhere = server.place.model_copy(update={"repository": tmp_path / "another"})
    with pytest.raises(IntegrityError, match="holds other bytes"):
        triton(model.digest, elsewhere).open(folder, loaded)
    again(site, server)
    with pytest.raises(UnavailableError, match="does not answer as it should"):
        asked.check()
    asked.open(folder, loaded)
    asked.check()
    server.process.kill()
    server.process.wait()
    with pytest.raises(UnavailableError, match=server.place.address):
        asked.forward(loaded, classifier.prepare(loaded, QUESTIONS))


@pytest.mark.slow
def test_served_answers_are_the_judged_ones_and_a_stopped_server_is_a_clear_503(
    site: Site, server: triton_server.Server, free_port: int
) -> None:
    model = graph_version(site)
    site.promote(model, site.judge(model).hash)
    folder, url = site.settings.verified / model.digest, f"http://127.0.0.1:{free_port}"
    expected = families.answer(classifier, classifier.load(folder, TASK), QUESTIONS[:6])  # type: ignore[arg-type]
    here = site.settings.model_copy(update={"port": free_port})
    chosen = Options(engines={TASK.name: "triton"}, triton=server.place)
    code = "from hotline.settings import Settings; from serving.run import serve_forever; "
    code += "from serving.replica import Options; "
    code += f"serve_forever(Settings.model_validate_json({here.model_dump_json()!r}), "
    code += f"Options.model_validate_json({chosen.model_dump_json()!r}))"
    serving = subprocess.Popen([sys.executable, "-c", code])
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            wait(lambda: ready(http) == 200)
            for text, answer in zip(TEXTS, expected, strict=True):
                body = http.post(f"/v1/tasks/{TASK.name}", json={"text": text}).json()
                assert body["answer"] == answer.target.model_dump()
                assert body["confidence"] == pytest.approx(answer.confidence, abs=TOLERANCE)
            server.process.kill()
            server.process.wait()
            refused = http.post(f"/v1/tasks/{TASK.name}", json={"text": TEXTS[0]})
            assert refused.status_code == 503
            assert "Triton server does not answer" in refused.text
            wait(lambda: ready(http) == 503)
            assert "Triton server does not answer" in http.get("/readyz").json()["unserved"][TASK.name]
            again(site, server)
            wait(lambda: ready(http) == 200)
            assert http.post(f"/v1/tasks/{TASK.name}", json={"text": TEXTS[0]}).status_code == 200
    finally:
        serving.terminate()
        serving.wait(60)


def ready(http: httpx.Client) -> int:
    try:
        return http.get("/readyz").status_code
    except httpx.HTTPError:
        return 0


def wait(met: Any) -> None:
    until = time.monotonic() + 240
    while not met():
        assert time.monotonic() < until
        time.sleep(0.5)
