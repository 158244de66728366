"""The endpoints as applications meet them: live Ray Serve over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hotline import requests
from hotline.families import answer, classifier
from hotline.tasks import TASKS, find

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
PATH = "/v1/tasks/ticket_category"
JSON = {"Content-Type": "application/json"}
ERROR_KEYS = {"code", "message", "where", "found", "expected", "next", "request_id", "details"}


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a refusal, after checking its shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == ERROR_KEYS
    assert response.headers.get_list("x-request-id") == [error["request_id"]]
    assert "Traceback" not in response.text
    return error


def test_an_answer_says_which_version_gave_it_and_on_what_evidence(http: httpx.Client, live_site: Site) -> None:
    response = http.post(PATH, json={"text": "小区门口的路灯坏了三天"}, headers={"X-Call-Id": "call-17"})
    body, champion = response.json(), live_site.ledger.read().champion(TASK.name)
    assert response.status_code == 200, response.text
    assert champion
    record = champion.record
    assert body["provenance"] == {
        "model": record.model.line,
        "version": record.model.version,
        "digest": record.model.digest,
        "verdict": record.verdict,
        "promotion": champion.entry.seq,
        "profile": "demo",
        "outcome": "passed",
        "site": "test",
    }
    headers = response.headers
    assert headers.get_list("x-request-id") == [body["id"]]
    assert headers["x-call-id"] == "call-17"
    assert (headers["x-model"], headers["x-model-version"]) == (record.model.line, record.model.version)
    assert (headers["x-model-digest"], headers["x-verdict"]) == (record.model.digest, record.verdict)


def test_the_request_id_names_the_version_by_itself(http: httpx.Client) -> None:
    body = http.post(PATH, json={"text": "公交又晚点了"}).json()
    named = requests.parse(body["id"])
    assert named.task == TASK.name
    assert body["provenance"]["digest"].startswith(named.digest)
    assert body["provenance"]["promotion"] == named.promotion


def test_the_served_answer_is_the_judged_answer(http: httpx.Client, live_site: Site) -> None:
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    model = classifier.load(live_site.settings.verified / champion.record.model.digest, TASK)
    for text in ("路灯坏了", "井盖丢失", "施工噪音很大"):
        [judged] = answer(classifier, model, [TASK.input.model_validate({"text": text})])  # type: ignore[arg-type]
        served = http.post(PATH, json={"text": text}).json()
        assert served["answer"] == judged.target.model_dump()
        assert served["confidence"] == pytest.approx(judged.confidence, abs=1e-6)
        assert [other["answer"] for other in served["alternatives"]] == [t.model_dump() for t, _ in judged.alternatives]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"text": "路灯坏了", "priority": 1}, "body.priority"),
        ({"text": 5}, "body.text"),
        ({"text": None}, "body.text"),
        ({}, "body.text"),
        ({"text": "字"}, "body.text"),
        ({"text": "字" * 20_001}, "body.text"),
        ([], "body"),
        ("路灯坏了", "body"),
    ],
)
def test_a_body_that_is_not_declared_is_refused_by_field(http: httpx.Client, body: Any, where: str) -> None:
    response = http.post(PATH, json=body)
    assert refused(response, 422)["where"] == where
    assert len(response.content) < 2_000


def test_a_refusal_never_repeats_what_the_caller_said(http: httpx.Client) -> None:
    response = http.post(PATH, json={"text": ["张三的电话"], "其他": "张三的电话"})
    refused(response, 422)
    assert "张三" not in response.text


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "',
        b"{'text': 'single quotes'}",
        b'{"text": "\xff\xfe\xfd"}',
        b'{"text": NaN}',
        b'{"text": -Infinity}',
        b'{"text": 1e999}',
        b'{"text": "one", "text": "two"}',
        b'{"text": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
        b'{"a": ' * 10_000,
        b'{"text": ' + b"9" * 5_000 + b"}",
        "路灯坏了".encode("gb18030"),
        b'\xef\xbb\xbf{"text": "with a byte order mark"}',
    ],
    ids=lambda content: content[:14].decode("latin-1"),
)
def test_broken_json_is_refused(http: httpx.Client, content: bytes) -> None:
    assert refused(http.post(PATH, content=content, headers=JSON), 400)["code"] == "broken_json"


def test_half_a_character_is_refused(http: httpx.Client) -> None:
    error = refused(http.post(PATH, content=b'{"text": "ab\\ud800"}', headers=JSON), 400)
    assert (error["code"], error["found"]) == ("broken_json", "half a surrogate pair")


def test_an_empty_body_is_refused(http: httpx.Client) -> None:
    refused(http.post(PATH, headers=JSON), 422)


def test_an_oversize_body_is_refused_by_its_header(http: httpx.Client) -> None:
    error = refused(http.post(PATH, content=b" " * 100_001, headers=JSON), 413)
    assert error["found"] == "100001 bytes declared"


def test_an_oversize_body_is_refused_while_it_streams_in(http: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(400):
            yield b"a" * 1_000

    assert refused(http.post(PATH, content=endless(), headers=JSON), 413)["code"] == "too_large"


def test_a_body_at_the_limit_is_taken(http: httpx.Client) -> None:
    content = json.dumps({"text": "路灯坏了"}).encode().ljust(100_000)
    assert http.post(PATH, content=content, headers=JSON).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_announced_as_json_is_refused(http: httpx.Client, kind: str) -> None:
    refused(http.post(PATH, content=b'{"text": "ab"}', headers={"Content-Type": kind}), 415)


def test_json_with_a_charset_is_taken(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert http.post(PATH, content='{"text": "路灯坏了"}'.encode(), headers=headers).status_code == 200


def test_an_unknown_task_is_not_found_and_the_known_ones_are_named(http: httpx.Client) -> None:
    error = refused(http.post("/v1/tasks/weather", json={"text": "ab"}), 404)
    assert "ticket_category" in error["expected"]
    assert error["next"] == "hotline tasks"


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/tasks/", "/docs/static/../app.py", "/-/nowhere", "/docs/x"])
def test_an_unknown_address_is_not_found(http: httpx.Client, path: str) -> None:
    refused(http.get(path), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method_is_refused(http: httpx.Client, method: str) -> None:
    response = http.request(method, PATH)
    refused(response, 405)
    assert response.headers["allow"] == "POST"


def test_a_call_id_with_blanks_is_refused(http: httpx.Client) -> None:
    error = refused(http.post(PATH, json={"text": "路灯坏了"}, headers={"X-Call-Id": "a b"}), 422)
    assert error["where"] == "header.x-call-id"


@pytest.mark.parametrize(
    "name", ["X-Request-Id", "X-Session-Id", "serve_multiplexed_model_id", "X-Request-Timeout-Seconds"]
)
def test_a_caller_cannot_steer_ray_serve_by_headers(http: httpx.Client, name: str) -> None:
    response = http.post(PATH, json={"text": "路灯坏了"}, headers={name: b"\xff0.0001"})
    assert response.status_code == 200
    assert response.headers.get_list("x-request-id") == [response.json()["id"]]


def test_the_listings_name_every_declared_task_and_every_version(http: httpx.Client, live_site: Site) -> None:
    tasks = {each["name"]: each for each in http.get("/v1/tasks").json()["tasks"]}
    assert tasks.keys() == TASKS.keys()
    listed = tasks[TASK.name]
    assert (listed["served"], listed["why_not"]) == (True, None)
    models = http.get("/v1/models").json()
    [model] = [each for each in models["data"] if each["task"] == TASK.name]
    assert models["object"] == "list"
    assert model["object"] == "model"
    assert model["digest"] == listed["provenance"]["digest"]
    assert model["id"] == f"tickets@{model['version']}"
    assert model["owned_by"] == "test"


def test_health_and_readiness(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True


def test_the_openapi_document_shows_each_task_with_its_types_and_an_example(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operation = document["paths"][PATH]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    [example] = content["examples"].values()
    assert example["value"] == dict(TASK.examples[0])
    schema = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]
    assert schema["additionalProperties"] is False
    assert {"200", "404", "413", "415", "422", "503"} <= set(operation["responses"])
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert http.post(PATH, json=example["value"]).status_code == 200


def test_the_openapi_page_works_offline(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert "http://" not in page.text and "https://" not in page.text
    for address in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert address in page.text
        assert http.get(f"/docs/static/{address}").status_code == 200
    assert http.get("/docs/openapi.json").json()["openapi"].startswith("3.0")
