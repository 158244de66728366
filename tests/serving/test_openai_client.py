"""OpenAI's own client at the routes that no other file asks: models, and what is not here."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[openai.OpenAI]:
    with httpx.Client(trust_env=False, timeout=90) as http:
        yield openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)


def test_the_models_are_listed_and_each_is_found_by_its_id(client: openai.OpenAI) -> None:
    listed = list(client.models.list())
    assert {model.id.split("@")[0] for model in listed} >= {"tickets", "speech", "titles", "faq"}
    for model in listed:
        found = client.models.retrieve(model.id)
        assert (found.id, found.object, found.owned_by) == (model.id, "model", "test")
        assert found.model_extra and len(found.model_extra["digest"]) == 64
    assert client.models.retrieve("titles").id.startswith("titles@")


def test_a_model_that_does_not_answer_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-5")
    assert "no such model answers here" in str(caught.value)


@pytest.mark.parametrize("path", ["/responses", "/completions", "/images/generations", "/audio/speech", "/files"])
def test_a_route_of_openais_that_is_not_here_is_not_found(client: openai.OpenAI, path: str) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no such address"):
        client.post(path, body={}, cast_to=httpx.Response)
