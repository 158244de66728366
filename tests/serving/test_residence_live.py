"""More versions than memory has room for, live: each answers when it is asked, and never more lie there than may."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import ray

from hotline.records import ModelAddress
from serving import routes
from serving.replica import Options
from serving.run import Running, start

if TYPE_CHECKING:
    from tests.serving.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.alone]

BODIES = {
    "ticket_category": {"text": "路灯坏了"},
    "ticket_summary": {"text": "您好，东街的路灯三天没人管。"},
    "review_label": {"text": "谢谢，已经修好了"},
}


def size(site: Site, model: ModelAddress) -> int:
    return sum(each.stat().st_size for each in (site.settings.verified / model.digest).rglob("*") if each.is_file())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, site_made: Callable[..., Site]) -> Site:
    site = site_made(tmp_path_factory.mktemp("residence") / "site")
    site.champion(1)
    site.writer_champion(1)
    site.reviewer_champion(1)
    return site


@pytest.fixture(scope="module")
def limit(own: Site) -> int:
    """Room for the largest, and not for the smallest beside it."""
    sizes = sorted(size(own, each.record.model) for each in own.ledger.read().champions().values())
    return sizes[-1] + sizes[0] // 2


@pytest.fixture(scope="module")
def live(own: Site, limit: int) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if ray.is_initialized():
        pytest.skip("other endpoints are up in this process: pytest -m alone")
    running = start(own.settings, port, Options(resident_bytes=limit))
    yield running
    running.stop()


def ask(live: Running, task: str) -> httpx.Response:
    return httpx.post(f"{live.url}/v1/tasks/{task}", json=BODIES[task], timeout=90, trust_env=False)


def resident() -> int:
    return int(ray.get(routes.find("test").resident_bytes.remote()))


def eventually(seen: Callable[[], Any], seconds: float = 120) -> None:
    give_up = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)


def test_every_version_answers_in_turn_within_the_limit(live: Running, limit: int) -> None:
    seen, done = list[int](), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(resident())

    watching = threading.Thread(target=watch)
    watching.start()
    first = {task: ask(live, task).json() for task in BODIES}
    again = {task: ask(live, task).json() for task in BODIES}
    done.set()
    watching.join()
    assert {task: said["answer"] for task, said in first.items()} == {
        task: said["answer"] for task, said in again.items()
    }
    assert 0 < max(seen) <= limit
    metrics = httpx.get(f"{live.url}/metrics", trust_env=False).text
    held = [line for line in metrics.splitlines() if line.startswith("hotline_resident_bytes{")]
    assert 1 <= sum(float(line.rpartition(" ")[2]) > 0 for line in held) < len(held) == 3


def test_calls_of_all_at_once_are_answered(live: Running) -> None:
    with ThreadPoolExecutor(6) as callers:
        said = list(callers.map(lambda number: ask(live, sorted(BODIES)[number % 3]), range(24)))
    assert {each.status_code for each in said} == {200}


def test_a_version_at_rest_needs_neither_ledger_nor_mlflow_to_answer_again(live: Running, own: Site) -> None:
    ask(live, "ticket_summary")
    ledger = own.settings.state / "ledger.db"
    content = ledger.read_bytes()
    ledger.write_bytes(b"this is no database" * 1000)
    assert [ask(live, task).status_code for task in BODIES] == [200, 200, 200]
    ledger.write_bytes(content)


def test_bytes_that_were_edited_while_it_rested_are_not_loaded(live: Running, own: Site) -> None:
    model = own.ledger.read().champions()["ticket_category"].record.model
    path: Path = next((own.settings.verified / model.digest).glob("*.safetensors"))
    content = path.read_bytes()
    eventually(lambda: ask(live, "ticket_summary").status_code == 200)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused = ask(live, "ticket_category")
    assert refused.status_code == 503
    assert "cannot be loaded again" in refused.json()["error"]["message"]
    assert ask(live, "ticket_summary").status_code == 200
    path.write_bytes(content)
    assert ask(live, "ticket_category").status_code == 200
