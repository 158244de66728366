"""Forms and methods as the ingress reads them, before any version is asked."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from hotline.policy import SitePolicy
from serving.app import build
from serving.strict import BrokenJson, read_json
from serving.switchboard import Switchboard

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """An ingress that nobody has told of any version: who gets past its door is answered 503."""
    site = SitePolicy.model_validate({"schema_version": 1, "site": "test", "profile": "demo"})
    app = build(site, Switchboard("test"), tmp_path_factory.mktemp("state"))
    return TestClient(app, raise_server_exceptions=False)


def sent(client: TestClient, **fields: Any) -> int:
    return client.post(PATH, files={"file": ("call.wav", b"RIFF")}, data={"model": "speech", **fields}).status_code


def test_two_hundred_keywords_are_taken_and_more_are_refused(client: TestClient) -> None:
    assert sent(client, **{"keywords[]": ["路灯"] * 200}) == 503
    assert sent(client, **{"keywords[]": ["路灯"] * 201}) == 422
    assert sent(client, **{"keywords[]": ["路灯"] * 2000}) == 400


def test_a_form_without_lists_has_few_fields(client: TestClient) -> None:
    many = {f"field{number}": "a" for number in range(30)}
    response = client.post("/v1/tasks/transcription", files={"file": ("call.wav", b"RIFF")}, data=many)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("path", "methods"), [("/v1/jobs/a", "DELETE, GET"), ("/v1/jobs", "POST"), ("/v1/models/a", "GET")]
)
def test_a_wrong_method_is_told_every_right_one(client: TestClient, path: str, methods: str) -> None:
    response = client.put(path)
    assert response.status_code == 405
    assert response.headers["allow"] == response.json()["error"]["expected"] == methods


@pytest.mark.parametrize("content", [b'"\\ud800"', b'{"\\udfff": 1}', b'["a\\udc00b"]'])
def test_half_a_surrogate_pair_is_broken_json(content: bytes) -> None:
    with pytest.raises(BrokenJson) as caught:
        read_json(content)
    assert caught.value.found == "half a surrogate pair"


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
