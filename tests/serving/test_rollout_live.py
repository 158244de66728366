"""Calls with ids over promotions, trials that fall back by themselves, two versions that do not fit: all of it live.

MLflow's server is stopped all the while.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import ray
import torch

from hotline import digests, keys
from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.labels import LabelTree
from hotline.ledger import Entry
from hotline.records import ModelAddress, Trial
from hotline.tasks import find
from serving.replica import Options
from serving.run import Running, start

if TYPE_CHECKING:
    from tests.serving.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.alone]

TASK, TITLES = find("ticket_category"), find("ticket_summary")
PATH = "/v1/tasks/ticket_category"
LABELS = ("城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点", "环保/噪音/施工")
TEXTS = {
    "cmn": ("路灯坏了", "井盖丢了", "公交晚点", "半夜施工"),
    "yue": ("街燈壞咗", "渠蓋唔見咗", "巴士遲到", "夜晚開工好嘈"),
}


def eventually(seen: Callable[[], Any], seconds: float = 180) -> None:
    give_up = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)


def trained(site: Site, number: int, wrong: str | None = None) -> ModelAddress:
    """A version that knows the texts by heart; those of the dialect `wrong` by other labels."""
    torch.manual_seed(number)
    asked = [(text, (n + (name == wrong)) % 4) for name, texts in TEXTS.items() for n, text in enumerate(texts)]
    inputs = [TASK.input.model_validate({"text": text}) for text, _ in asked]
    targets = [TASK.target.model_validate({"label": LABELS[label]}) for _, label in asked]
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 32, "minimum_texts": 1})
    model = classifier.create(options, TASK, LabelTree.of(LABELS), inputs, targets)
    batch = classifier.prepare(model, inputs, targets)
    optimiser = torch.optim.AdamW(classifier.parameter_groups(model, 5e-2, 0.0))
    for _ in range(60):
        loss = classifier.loss(model.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    folder = site.settings.state / f"made-{number}"
    folder.mkdir(parents=True)
    classifier.save(model.eval(), folder)
    return site._kept(folder, "tickets", number, {TASK.name: digests.of_value(TASK.declaration())})


def trial(site: Site, model: ModelAddress, stage: Any, share: float = 1.0) -> Entry:
    champion, verdict = site.ledger.read().champion(TASK.name), site.judge(model)
    assert champion
    record = Trial(
        site="test",
        task=TASK.name,
        time="2026-01-01T00:00:00+00:00",
        stage=stage,
        model=model,
        verdict=verdict.hash,
        champion=champion.record.model.digest,
        share=share,
        reason="test",
    )
    return site.ledger.append(lambda _: record, keys.load(site.settings.keys, "operator"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, site_made: Callable[..., Site]) -> Site:
    site = site_made(tmp_path_factory.mktemp("rollout") / "site")
    site.policy(rollout={"drain_then_load": [TITLES.name], "window_seconds": 60})
    first = trained(site, 1)
    site.promote(first, site.judge(first).hash)
    site.writer_champion(1)
    site.settings = site.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    return site


@pytest.fixture(scope="module")
def live(own: Site) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if ray.is_initialized():
        pytest.skip("other endpoints are up in this process: pytest -m alone")
    running = start(own.settings, port, Options(copies={TASK.name: (2, 2)}))
    yield running
    running.stop()


@pytest.fixture
def http(live: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=90, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, call: str, text: str = "路灯坏了", dialect: str = "cmn") -> dict[str, Any]:
    reply = http.post(PATH, json={"text": text}, headers={"X-Call-Id": call, "X-Dialect": dialect})
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said


def listed(http: httpx.Client, task: str = TASK.name) -> dict[str, Any]:
    return next(each for each in http.get("/v1/tasks").json()["tasks"] if each["name"] == task)


def test_calls_keep_their_version_over_a_promotion_and_a_rollback(http: httpx.Client, own: Site) -> None:
    first = ask(http, "a")["provenance"]["digest"]
    second = trained(own, 2)
    own.promote(second, own.judge(second).hash)
    eventually(lambda: listed(http)["provenance"]["digest"] == second.digest)
    assert [ask(http, call)["provenance"]["digest"] for call in "aba"] == [first, second.digest, first]
    back = own.roll_back()
    eventually(lambda: listed(http)["provenance"]["promotion"] == back.seq)
    answers = [ask(http, call) for call in "abc"]
    assert [each["provenance"]["digest"] for each in answers] == [first, second.digest, first]
    assert answers[2]["provenance"]["promotion"] == back.seq


def compared_in(page: Path) -> int:
    return int(json.loads(page.read_text())["slices"]["cmn"]["compared"])


def test_a_shadow_is_compared_and_nobody_hears_it(http: httpx.Client, own: Site) -> None:
    champion = listed(http)["provenance"]["digest"]
    model = trained(own, 3)
    trial(own, model, "shadow")
    eventually(lambda: listed(http)["tried"])
    assert listed(http)["tried"] == {"stage": "shadow", "model": "tickets@3", "digest": model.digest, "share": 1.0}
    pages, page = own.settings.state / "rollout", f"{TASK.name}-{model.digest[:12]}-*/differences.json"
    heard: set[str] = set()

    def compared() -> bool:
        heard.add(ask(http, f"shadow-{time.monotonic_ns()}")["provenance"]["digest"])  # mirrored, or not
        return any(compared_in(each) >= 20 for each in pages.glob(page))

    eventually(compared)
    assert heard == {champion}
    [found] = pages.glob(page)
    assert json.loads(found.read_text())["slices"]["cmn"]["differed"] == 0
    trial(own, model, "withdrawn", 0.0)
    eventually(lambda: not listed(http)["tried"])


def test_a_canary_that_is_wrong_on_one_dialect_falls_back_by_itself(http: httpx.Client, own: Site) -> None:
    head_before = listed(http)["provenance"]["digest"]
    model = trained(own, 4, wrong="yue")
    entry = trial(own, model, "canary", 0.5)
    eventually(lambda: listed(http)["tried"])
    events, seen, number = own.settings.state / "rollout" / "events.jsonl", set(), 0
    while not events.is_file():
        assert number < 2000
        for dialect, texts in TEXTS.items():
            seen.add(ask(http, f"canary-{number}", texts[number % 4], dialect)["provenance"]["digest"])
            number += 1
    [event] = map(json.loads, events.read_text().splitlines())
    assert seen == {head_before, model.digest}
    assert (event["entry"], event["digest"]) == (entry.seq, model.digest)
    assert "in yue were answered otherwise" in event["reason"]
    eventually(lambda: not listed(http)["tried"])
    assert {ask(http, f"canary-{n}")["provenance"]["digest"] for n in range(50)} == {head_before}
    assert any("it fell back" in note for note in http.get("/readyz").json()["notes"])


def test_a_corrupt_candidate_is_refused_in_one_line_and_the_old_one_serves(
    http: httpx.Client, own: Site, caplog: pytest.LogCaptureFixture
) -> None:
    before = listed(http)["provenance"]["digest"]
    model = trained(own, 5)
    path = next((own.settings.verified / model.digest).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    own.promote(model, own.judge(model).hash)
    eventually(
        lambda: "bytes are not those that were judged" in http.get("/readyz").json()["unserved"].get(TASK.name, "")
    )
    time.sleep(3)
    assert ask(http, "corrupt")["provenance"]["digest"] == before
    lines = [each.getMessage() for each in caplog.records if "bytes are not those" in each.getMessage()]
    assert len(lines) == 1
    assert "[answering: tickets@1]" in lines[0]


def test_where_two_versions_do_not_fit_the_old_one_ends_first(http: httpx.Client, own: Site, live: Running) -> None:
    model = own.writer(2)
    own.promote(model, own.judge(model, task=TITLES).hash, TITLES)
    eventually(lambda: not listed(http, TITLES.name)["served"])
    refused = http.post("/v1/tasks/ticket_summary", json={"text": "您好，东街的路灯三天没人管。"})
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert "makes room for the next version" in refused.json()["error"]["found"]
    eventually(lambda: listed(http, TITLES.name)["served"])
    assert listed(http, TITLES.name)["provenance"]["digest"] == model.digest
    assert not [stage for stage in live.controller.map.warm if stage.route.task == TITLES.name]


def test_where_the_next_version_is_corrupt_the_old_one_comes_back(http: httpx.Client, own: Site) -> None:
    before = listed(http, TITLES.name)["provenance"]["digest"]
    model = own.writer(3)
    path = next((own.settings.verified / model.digest).rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    own.promote(model, own.judge(model, task=TITLES).hash, TITLES)
    eventually(
        lambda: "bytes are not those that were judged" in http.get("/readyz").json()["unserved"].get(TITLES.name, "")
    )
    eventually(lambda: listed(http, TITLES.name)["served"])
    assert listed(http, TITLES.name)["provenance"]["digest"] == before
    assert http.post("/v1/tasks/ticket_summary", json={"text": "您好，东街的路灯三天没人管。"}).status_code == 200


def replicas(digest: str) -> list[int]:
    """Processes of that version."""
    name = f"ServeReplica:{TASK.name}-{digest[:12]}"
    return [each.pid for each in psutil.process_iter(["cmdline"]) if name in " ".join(each.info["cmdline"] or ())]


def test_no_call_fails_when_one_of_two_replicas_is_killed(http: httpx.Client) -> None:
    digest = listed(http)["provenance"]["digest"]
    eventually(lambda: len(replicas(digest)) == 2)
    with ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(ask, http, f"killed-{number}") for number in range(400)]
        time.sleep(0.2)
        os.kill(replicas(digest)[0], signal.SIGKILL)
        assert {call.result()["provenance"]["digest"] for call in calls} == {digest}
    eventually(lambda: len(replicas(digest)) == 2)
