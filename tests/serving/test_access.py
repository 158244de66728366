"""Strangers at every route, by every kind of key that is not right; nothing of a key or a call is written anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from hotline import policy
from hotline.tasks import TASKS
from serving.access import door, issue
from serving.access.audit import Audit
from serving.access.door import Door
from serving.app import build
from serving.routes import Route, RouteMap
from serving.switchboard import Switchboard

if TYPE_CHECKING:
    from tests.serving.conftest import Site

OTHER = "a" * 64
TEXT = "路灯坏了三天没人修"
ANSWER = {"answer": {"label": "城乡建设/市政/路灯"}, "confidence": 0.9, "alternatives": []}
TICKETS = "/v1/tasks/ticket_category"
Request = tuple[str, str]


class Answering(Switchboard):
    """Every task is served, and every ticket is about street lamps; no Ray is needed for what happens before."""

    def __init__(self) -> None:
        super().__init__("test")
        known = {"verdict": OTHER, "promotion": 1, "promoted": "2026-01-01T00:00:00+00:00", "profile": "demo"}
        rest = {"outcome": "passed", "site": "test", "engine": "in process", "app": "none", "digest": OTHER}
        routes = {
            name: Route.model_validate({"task": name, "line": name, "version": "1", **known, **rest}) for name in TASKS
        }
        self.map = RouteMap(number=1, routes=routes)

    async def ask(self, *_: Any, **__: Any) -> Mapping[str, Any]:
        return ANSWER


@dataclass
class Guarded:
    """An ingress behind a door, the keys that were made for it, and what it wrote about calls."""

    site: Site
    app: FastAPI
    http: TestClient

    def key(self, name: str = "ivr", days: int = 30, **wish: Any) -> str:
        wish = {"roles": ("call",), **wish}
        return issue.create(self.site.settings, name, days, "operator", wish)[1]

    def get(self, key: str | None, path: str = "/v1/tasks", **more: str) -> int:
        return self.http.get(path, headers=bearer(key) | more).status_code

    def ask(self, key: str | None, path: str = TICKETS) -> Any:
        return self.http.post(path, json={"text": TEXT}, headers=bearer(key))

    def audit(self) -> list[dict[str, Any]]:
        _inner(self.app, Door)._audit.flush()
        files = sorted(self.site.settings.access.glob("audit-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _inner(app: Any, kind: type) -> Any:
    """The middleware of that kind, under those that FastAPI puts around it."""
    here = app.middleware_stack
    while not isinstance(here, kind):
        here = next(value for name, value in vars(here).items() if name in ("app", "_app"))
    return here


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The register is looked at with every call, not every second: no test waits."""
    monkeypatch.setattr(door, "LOOK_SECONDS", -1.0)


@pytest.fixture
def guarded_of() -> Iterator[Callable[[Site], Guarded]]:
    def of(site: Site) -> Guarded:
        site.policy(access="required")
        app = build(policy.load(site.settings.workspace), Answering(), site.settings.state)
        return Guarded(site, app, TestClient(app, raise_server_exceptions=False))

    yield of


@pytest.fixture
def guarded(site: Site, guarded_of: Callable[[Site], Guarded]) -> Guarded:
    return guarded_of(site)


def requests_of(routes: list[BaseRoute], prefix: str = "") -> Iterator[Request]:
    """A method and an address for every route of the application, and for what it does not have."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, Mount):
            yield from [("GET", f"{path}/"), ("GET", f"{path}/page.js")]
            continue
        filled = path.replace("{task}", "ticket_category").replace("{model}", "m").replace("{job}", OTHER)
        assert "{" not in filled
        for method in getattr(route, "methods", None) or ():
            yield method, filled


def everywhere(guarded: Guarded) -> list[Request]:
    found = {*requests_of(guarded.app.routes)}
    assert len(found) > 30
    strange = {
        ("GET", "/metrics"),
        ("POST", "/admin"),
        ("GET", "/-/routes"),
        ("OPTIONS", TICKETS),
        ("GET", "//v1/tasks"),
    }
    return sorted((found | strange) - {("GET", "/healthz"), ("HEAD", "/healthz")})


def send(guarded: Guarded, request: Request, key: str | None) -> int:
    return guarded.http.request(*request, headers=bearer(key)).status_code


def test_every_route_wants_a_key_that_is_right_and_holds(
    guarded: Guarded, site_of: Callable[[str], Site], guarded_of: Callable[[Site], Guarded]
) -> None:
    other = guarded_of(site_of("production")).key()
    revoked, expired, right = guarded.key(), guarded.key(days=0), guarded.key(roles=("call", "metrics", "admin"))
    issue.revoke(guarded.site.settings, revoked.split("_")[1], "lost", "operator")
    forged = right[:-1] + ("A" if right[-1] != "A" else "B")
    _inner_strangers_wait_for_nobody(guarded)
    for request in everywhere(guarded):
        for name, key in {
            "none": None,
            "revoked": revoked,
            "expired": expired,
            "other": other,
            "forged": forged,
        }.items():
            assert send(guarded, request, key) == 401, (request, name)
        assert send(guarded, request, right) not in (401, 403, 429), request
    assert guarded.get(None, "/healthz") == 200


def _inner_strangers_wait_for_nobody(guarded: Guarded) -> None:
    """Hundreds of wrong keys are sent here on purpose; that those wait is another test's matter."""
    guarded.get(None)
    _inner(guarded.app, Door)._strangers._clock = iter(range(0, 10**9, 1000)).__next__


def test_a_role_opens_its_own_routes_and_no_others(guarded: Guarded) -> None:
    call, metrics, admin = (guarded.key(roles=(role,)) for role in ("call", "metrics", "admin"))
    for path in ("/metrics", "/v1/drift"):
        assert guarded.get(metrics, path) == 200
        assert guarded.get(call, path) == guarded.get(admin, path) == 403
    assert guarded.get(admin, "/admin/anything") == 404
    assert guarded.get(call, "/admin/anything") == guarded.get(metrics, "/anything/else") == 403
    assert guarded.ask(call).status_code == 200
    assert guarded.ask(metrics).status_code == guarded.ask(admin).status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TICKETS, {"json": {"text": TEXT}}),
        (f"{TICKETS}/batch", {"json": [{"text": TEXT}]}),
        (
            "/v1/decisions",
            {"json": {"task": "ticket_category", "input": {"text": TEXT}, "kind": "choice", "options": ["a"]}},
        ),
        ("/v1/jobs", {"data": {"task": "ticket_category"}, "files": {"file": b'{"text": "lamp"}'}}),
        (
            "/v1/chat/completions",
            {"json": {"model": "article_answer", "messages": [{"role": "user", "content": TEXT}]}},
        ),
        ("/v1/embeddings", {"json": {"model": "faq_match", "input": TEXT}}),
        ("/v1/audio/transcriptions", {"data": {"model": "transcription"}, "files": {"file": b"RIFF"}}),
        ("/v1/tasks/transcription", {"files": {"file": b"RIFF"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_of_one_task_asks_no_other_whatever_the_route(guarded: Guarded, path: str, body: Any) -> None:
    answer = guarded.http.post(path, **body, headers=bearer(guarded.key(tasks=("ticket_summary",))))
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "not_allowed"


def test_a_job_of_a_task_that_is_not_the_keys_stays_closed(guarded: Guarded) -> None:
    made = guarded.http.post(
        "/v1/jobs",
        data={"task": "ticket_category"},
        files={"file": json.dumps({"text": TEXT}).encode()},
        headers=bearer(guarded.key()),
    )
    assert made.status_code == 202
    narrow, place = bearer(guarded.key(tasks=("ticket_summary",))), f"/v1/jobs/{made.json()['id']}"
    for method, path in (("GET", place), ("GET", f"{place}/result"), ("DELETE", place)):
        assert guarded.http.request(method, path, headers=narrow).status_code == 403


def test_a_new_key_and_a_revoked_one_are_known_without_a_restart(guarded: Guarded) -> None:
    key = guarded.key()
    assert guarded.ask(key).status_code == 200
    issue.revoke(guarded.site.settings, key.split("_")[1], "lost", "operator")
    answer = guarded.ask(key)
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "the access key was revoked"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_edited_register_changes_nothing_that_is_known(guarded: Guarded) -> None:
    right, revoked = guarded.key(), guarded.key()
    issue.revoke(guarded.site.settings, revoked.split("_")[1], "lost", "operator")
    assert (guarded.get(right), guarded.get(revoked)) == (200, 401)
    path = guarded.site.settings.access / "keys.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for content in (lines[:-1], [line.replace("call", "admin") for line in lines], ["nonsense"], []):
        path.write_text("".join(content))
        assert (guarded.get(right), guarded.get(revoked)) == (200, 401)
    path.unlink()
    assert (guarded.get(right), guarded.get(revoked)) == (200, 401)


def test_a_page_asks_a_browser_for_the_key_as_a_password(guarded: Guarded) -> None:
    asked = guarded.http.get("/", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="hotline"')
    sent = {"Authorization": "Basic " + base64.b64encode(f"me:{guarded.key()}".encode()).decode()}
    assert guarded.http.get("/", headers=sent).status_code == 200
    assert guarded.http.get("/", headers={**sent, "Sec-Fetch-Site": "cross-site"}).status_code == 401


def test_wrong_keys_are_answered_ever_more_slowly_and_others_are_not(guarded: Guarded) -> None:
    right, attacked = guarded.key(), guarded.key()
    guess = attacked[:-4] + "AAAA"
    assert [guarded.get(guess) for _ in range(8)] == [401] * 6 + [429] * 2
    waiting = guarded.http.get("/v1/tasks", headers=bearer(guess))
    assert int(waiting.headers["retry-after"]) >= 1
    assert guarded.get(attacked) == 429  # not even looked at
    assert guarded.get(right) == 200
    assert {guarded.get(f"hl_{number:012x}_{'A' * 43}") for number in range(20)} == {401, 429}
    assert guarded.get(right) == 200


def test_a_key_makes_as_many_calls_as_it_may(guarded: Guarded) -> None:
    for limit in ({"per_minute": 3}, {"per_day": 3}):
        key = guarded.key(**limit)
        answers = [guarded.ask(key) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["error"]["code"] == "too_many_calls"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 24 * 3600


def test_the_log_says_who_did_what_and_nothing_that_was_said(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    key = guarded.key("Frau Wong, IVR")
    said = [guarded.ask(key), guarded.ask(None), guarded.ask(key[:-4] + "AAAA"), guarded.get(key, "/admin?x=" + TEXT)]
    errors = [answer.text for answer in said[1:3]]
    lines = guarded.audit()
    metrics = guarded.http.get("/metrics", headers=bearer(guarded.key(roles=("metrics",)))).text
    assert "hotline_requests_total" in metrics and '"401"' in metrics
    assert [line for line in lines if line["key"]] == [
        {"key": key.split("_")[1], "method": "POST", "what": TICKETS, "status": 200}
        | {"request_id": said[0].json()["id"], "time": lines[0]["time"]},
        {"key": key.split("_")[1], "method": "GET", "what": "other", "status": 403}
        | {"request_id": lines[1]["request_id"], "time": lines[1]["time"]},
    ]
    assert [(line["many"], line["status"]) for line in lines if not line["key"]] == [(2, 401)]
    files = [path for path in guarded.site.settings.state.rglob("*") if path.is_file() and path.suffix != ".db"]
    written = caplog.text + metrics + "".join(errors) + "".join(path.read_text(errors="replace") for path in files)
    for secret in (key, key.split("_", 2)[2], key[:-4] + "AAAA", TEXT, "路灯", "testclient"):
        assert secret not in written
    assert "Wong" not in caplog.text + json.dumps(lines)
    assert all(
        path.stat().st_mode & 0o077 == 0 for path in guarded.site.settings.access.iterdir() if path.suffix != ".lock"
    )


def test_the_log_does_not_grow_without_end(guarded: Guarded) -> None:
    audit = Audit(guarded.site.settings.access, file_bytes=200, files=3)
    for number in range(20):
        audit.call("0" * 12, "GET", "/v1/tasks", 200, str(number))
        audit.flush()
    kept = sorted(guarded.site.settings.access.glob("audit-*.jsonl"))
    assert 1 < len(kept) <= 3
    assert json.loads(kept[-1].read_text().splitlines()[-1])["request_id"] == "19"


def test_what_comes_in_bulk_says_so_to_the_queue_and_nobody_raises_his_own_rank(guarded: Guarded) -> None:
    seen: list[str] = []
    here = guarded.site.settings
    http = TestClient(Door(_noting(seen), policy.load(here.workspace), here.state))
    live, bulk = guarded.key(), guarded.key(priority="bulk")
    for key, wish in ((live, ""), (live, "bulk"), (bulk, ""), (bulk, "live")):
        http.get("/v1/tasks", headers={**bearer(key), "X-Priority": wish})
    assert seen == ["live", "bulk", "bulk", "bulk"]


def _noting(seen: list[str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["priority"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return app


def test_the_document_says_that_a_key_is_wanted(guarded: Guarded) -> None:
    document = guarded.http.get("/openapi.json", headers=bearer(guarded.key())).json()
    assert document["security"] == [{"access key": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert {"401", "403", "429"} <= set(document["paths"][TICKETS]["post"]["responses"])


def test_without_required_access_nobody_is_asked(site: Site) -> None:
    app = build(policy.load(site.settings.workspace), Answering(), site.settings.state)
    http = TestClient(app)
    assert http.get("/v1/tasks").status_code == 200
    assert http.get("/v1/tasks", headers=bearer("none")).status_code == 200
