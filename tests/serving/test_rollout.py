"""Promotions and rollbacks under load: no call fails, none is answered by a version that is not the ledger's."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from hotline.tasks import find
from serving.run import Running

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
PATH = "/v1/tasks/ticket_category"
CALLERS = 6


def eventually(seen: Callable[[], bool], seconds: float = 90) -> None:
    give_up = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.1)


@contextmanager
def load(endpoint: str) -> Iterator[list[tuple[int, Any]]]:
    """Callers that ask without a pause; gives (status, body) of every call."""
    answers: list[tuple[int, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as client:
            while not stop.is_set():
                response = client.post(PATH, json={"text": "小区门口的路灯坏了"})
                answers.append((response.status_code, response.json()))

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield answers
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def served(http: httpx.Client) -> dict[str, Any]:
    listed = {each["name"]: each for each in http.get("/v1/tasks").json()["tasks"]}
    provenance: dict[str, Any] = listed[TASK.name]["provenance"]
    return provenance


@pytest.mark.slow
def test_a_promotion_and_a_rollback_under_load_fail_no_call(live_site: Site, endpoint: str, http: httpx.Client) -> None:
    before = served(http)
    with load(endpoint) as answers:
        promoted = live_site.champion(20)
        eventually(lambda: served(http)["digest"] == promoted.digest)
        time.sleep(1)
        rollback = live_site.roll_back()
        eventually(lambda: served(http)["promotion"] == rollback.seq)
        time.sleep(1)
    assert {status for status, _ in answers} == {200}
    order = [(body["provenance"]["promotion"], body["provenance"]["digest"]) for _, body in answers]
    assert set(order) == {
        (before["promotion"], before["digest"]),
        (rollback.seq - 1, promoted.digest),
        (rollback.seq, before["digest"]),
    }


@pytest.mark.slow
def test_a_refused_champion_leaves_the_version_before_answering(
    live_site: Site, http: httpx.Client, running: Running
) -> None:
    before = served(http)
    model = live_site.version(30)
    live_site.promote(model, live_site.judge(model, "failed").hash)
    eventually(lambda: "did not pass" in http.get("/readyz").json()["unserved"].get(TASK.name, ""))
    assert http.get("/readyz").status_code == 503
    assert http.post(PATH, json={"text": "路灯坏了"}).json()["provenance"]["digest"] == before["digest"]
    live_site.champion(31)
    eventually(lambda: http.get("/readyz").status_code == 200)


@pytest.mark.slow
def test_a_replica_that_refuses_leaves_the_version_before_and_says_why(live_site: Site, http: httpx.Client) -> None:
    before = served(http)
    model = live_site.version(40, declaration="c" * 64)
    live_site.promote(model, live_site.judge(model).hash)
    eventually(lambda: "another declaration" in http.get("/readyz").json()["unserved"].get(TASK.name, ""))
    assert http.get("/readyz").status_code == 503
    assert http.post(PATH, json={"text": "路灯坏了"}).json()["provenance"]["digest"] == before["digest"]
    live_site.champion(41)
    eventually(lambda: http.get("/readyz").status_code == 200)


@pytest.mark.slow
def test_calls_go_on_while_a_killed_replica_comes_back(endpoint: str, http: httpx.Client) -> None:
    with load(endpoint) as answers:
        for process in psutil.Process().children(recursive=True):
            if any("ServeReplica:ticket_category" in word for word in process.cmdline()):
                process.kill()
        eventually(lambda: http.get("/readyz").status_code == 503)
        eventually(lambda: http.get("/readyz").status_code == 200)
    refused = [body["error"] for status, body in answers if status != 200]
    assert {error["code"] for error in refused} <= {"unavailable"}
    assert answers[-1][0] == 200


def test_with_an_unreadable_ledger_the_endpoints_go_on_and_readiness_tells(live_site: Site, http: httpx.Client) -> None:
    ledger = live_site.settings.state / "ledger.db"
    content = ledger.read_bytes()
    ledger.write_bytes(b"this is no database" * 1000)
    eventually(lambda: http.get("/readyz").status_code == 503)
    assert http.get("/readyz").json()["trouble"]
    assert http.post(PATH, json={"text": "路灯坏了"}).status_code == 200
    ledger.write_bytes(content)
    eventually(lambda: http.get("/readyz").status_code == 200)


def test_with_a_truncated_ledger_the_endpoints_go_on_and_name_it(live_site: Site, http: httpx.Client) -> None:
    before = served(http)
    ledger = live_site.settings.state / "ledger.db"
    content = ledger.read_bytes()
    with sqlite3.connect(ledger) as store:
        store.execute("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)")
    store.close()
    eventually(lambda: "the ledger is shorter" in (http.get("/readyz").json()["trouble"] or ""))
    assert http.post(PATH, json={"text": "路灯坏了"}).json()["provenance"]["promotion"] == before["promotion"]
    ledger.write_bytes(content)
    eventually(lambda: http.get("/readyz").status_code == 200)


@pytest.mark.slow
def test_serve_says_where_to_look_and_stops_on_sigterm(site: Site, free_port: int) -> None:
    site.champion(1)
    here = site.settings.model_copy(update={"port": free_port})
    code = "from hotline.settings import Settings; from serving.run import serve_forever; "
    code += f"serve_forever(Settings.model_validate_json({here.model_dump_json()!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        shown = ""
        while "Stop with Ctrl-C" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        assert f"POST http://127.0.0.1:{free_port}{PATH}" in shown
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(60) == 0
    assert rest == "Stopping: calls in progress are finished first.\n"
