"""Live endpoints over a ledger in PostgreSQL that stops, with MLflow's server stopped all the while."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import ray

from hotline.tasks import find
from serving.run import Running, start
from tests.postgres import SECRET, Postgres

if TYPE_CHECKING:
    from tests.serving.conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.alone]

TASK = find("ticket_category")
PATH = "/v1/tasks/ticket_category"


@pytest.fixture
def own(tmp_path: Path, site_made: Callable[..., Site], postgres: Postgres) -> Site:
    site = site_made(tmp_path / "site")
    site.settings = site.settings.model_copy(
        update={"ledger_url": postgres.url, "tracking_uri": "http://127.0.0.1:9"}  # nobody listens at port 9
    )
    site.champion(1)
    return site


@pytest.fixture
def live(own: Site) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    if ray.is_initialized():
        pytest.skip("other endpoints are up in this process: pytest -m alone")
    running = start(own.settings, port)
    yield running
    running.stop()


def eventually(seen: Callable[[], Any], seconds: float = 120) -> None:
    give_up = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)


def test_with_the_ledger_stopped_calls_are_answered_and_after_it_promotions_go_on(
    live: Running, own: Site, postgres: Postgres
) -> None:
    with httpx.Client(base_url=live.url, timeout=90, trust_env=False) as http, ThreadPoolExecutor(8) as callers:

        def ask(number: int) -> httpx.Response:
            return http.post(PATH, json={"text": f"路灯坏了{number}"})

        def readiness() -> httpx.Response:
            return http.get("/readyz")

        eventually(lambda: readiness().status_code == 200)
        first = ask(0).json()["provenance"]["digest"]
        calls = [callers.submit(ask, number) for number in range(300)]
        postgres.stop()
        eventually(lambda: readiness().status_code == 503)
        told = readiness().text
        assert "the ledger does not answer" in told
        assert SECRET not in told
        calls += [callers.submit(ask, number) for number in range(300)]
        said = [call.result() for call in calls]
        assert {each.status_code for each in said} == {200}
        assert {each.json()["provenance"]["digest"] for each in said} == {first}
        assert readiness().status_code == 503
        postgres.start()
        eventually(lambda: readiness().status_code == 200)
        second = own.champion(2)
        eventually(lambda: ask(1).json()["provenance"]["digest"] == second.digest)
