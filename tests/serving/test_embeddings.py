"""`POST /v1/embeddings` on live endpoints: OpenAI's own client, every shape of input, and the judged vectors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from hotline import families
from hotline.families import embedder
from hotline.tasks import find
from hotline.wishes import Wish

if TYPE_CHECKING:
    from tests.serving.conftest import Site

PATH, TASK = "/v1/embeddings", find("faq_match")
TEXTS = ["身份证丢了怎么补", "失业金怎么领", "今天天气怎么样", "路" * 300, "证"]


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[openai.OpenAI]:
    with httpx.Client(trust_env=False, timeout=90) as http:
        yield openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)


@pytest.fixture(scope="module")
def judged(live_site: Site) -> np.ndarray:
    """The vectors of TEXTS by the champion's files, on the gate's own path."""
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    model = embedder.load(live_site.settings.verified / champion.record.model.digest, TASK)
    inputs = [TASK.input.model_validate({"question": text}) for text in TEXTS]
    answers = families.answer(families.find("embedder"), model, inputs, wishes=[Wish(vector=True)] * len(TEXTS))
    return np.array([answer.vector.values for answer in answers if answer.vector], dtype=np.float32)


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["request_id"] == response.headers["x-request-id"]
    return error


def test_the_client_gets_the_judged_vectors_by_its_own_default_and_as_floats(
    client: openai.OpenAI, judged: np.ndarray
) -> None:
    packed = client.embeddings.create(model="faq", input=TEXTS)  # the client asks for base64, and unpacks it
    floats = client.embeddings.create(model="faq", input=TEXTS, encoding_format="float")
    for reply in (packed, floats):
        assert [each.index for each in reply.data] == list(range(len(TEXTS)))
        found = np.array([each.embedding for each in reply.data], dtype=np.float32)
        assert found == pytest.approx(judged, abs=1e-6)
        assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
        assert reply.usage.prompt_tokens == reply.usage.total_tokens == sum(map(len, TEXTS))
        assert (reply.object, reply.model) == ("list", "faq@1")


def test_one_text_has_the_vector_that_it_has_in_a_list(client: openai.OpenAI, judged: np.ndarray) -> None:
    for text, vector in zip(TEXTS, judged, strict=True):
        [one] = client.embeddings.create(model="faq_match", input=text, dimensions=24).data
        assert np.array(one.embedding) == pytest.approx(vector, abs=1e-6)


def test_base64_is_little_endian_floats_of_32_bits(http: httpx.Client, judged: np.ndarray) -> None:
    body = http.post(PATH, json={"model": "faq@1", "input": TEXTS[0], "encoding_format": "base64"}).json()
    assert np.frombuffer(base64.b64decode(body["data"][0]["embedding"]), "<f4") == pytest.approx(judged[0], abs=1e-6)


def test_the_reply_names_version_verdict_and_call(http: httpx.Client) -> None:
    asked = {"model": "faq", "input": ["身份证", "社保"]}
    response = http.post(PATH, json=asked, headers={"X-Call-Id": "call-7"})
    body = response.json()
    assert response.headers["x-call-id"] == "call-7"
    assert response.headers["x-request-id"] == body["id"]
    assert response.headers["x-model-digest"] == body["provenance"]["digest"]
    assert response.headers["x-verdict"] == body["provenance"]["verdict"]
    assert body["id"].startswith(TASK.name)


def test_the_task_itself_answers_without_a_vector(http: httpx.Client) -> None:
    body = http.post(f"/v1/tasks/{TASK.name}", json={"question": "身份证丢了怎么补"}).json()
    assert set(body) == {"id", "task", "answer", "confidence", "alternatives", "provenance"}
    many = http.post(f"/v1/tasks/{TASK.name}/batch", json=[{"question": text} for text in TEXTS]).json()
    assert all("vector" not in each for each in many["answers"])


def test_the_task_is_answered_as_it_was_judged(live_site: Site, http: httpx.Client) -> None:
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    model = embedder.load(live_site.settings.verified / champion.record.model.digest, TASK)
    inputs = [TASK.input.model_validate({"question": text}) for text in TEXTS]
    expected = families.answer(families.find("embedder"), model, inputs)
    said = http.post(f"/v1/tasks/{TASK.name}/batch", json=[{"question": text} for text in TEXTS]).json()["answers"]
    assert [each["answer"] for each in said] == [answer.target.model_dump() for answer in expected]
    assert [each["confidence"] for each in said] == pytest.approx([a.confidence for a in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        ({"input": ""}, "body.input.0", "at least 1"),
        ({"input": ["路灯", "  "]}, "body.input.1", "at least 1"),
        ({"input": "路" * 2001}, "body.input.0", "at most 2000"),
        ({"input": []}, "body.input", "at least one"),
        ({"input": [1, 2, 3]}, "body.input", "tokens"),
        ({"input": [[1, 2], [3]]}, "body.input", "tokens"),
        ({"input": 7}, "body.input", "a text"),
        ({"input": {"text": "路灯"}}, "body.input", "a text"),
        ({"input": ["路灯", None]}, "body.input", "number 1"),
        ({"input": None}, "body.input", "a text"),
        ({"dimensions": 12}, "body.dimensions", "24"),
        ({"dimensions": "24"}, "body.dimensions", "integer"),
        ({"encoding_format": "int8"}, "body.encoding_format", "float"),
        ({"user": "somebody"}, "body.user", "only declared fields"),
        ({"stream": True}, "body.stream", "only declared fields"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_done_is_refused_by_field_with_the_reason(
    http: httpx.Client, changed: dict[str, Any], where: str, words: str
) -> None:
    error = refused(http.post(PATH, json={"model": "faq", "input": "路灯", **changed}), 422)
    assert error["where"] == where
    assert words in error["expected"]


@pytest.mark.parametrize("missing", ["model", "input"])
def test_model_and_input_are_needed(http: httpx.Client, missing: str) -> None:
    body = {"model": "faq", "input": "路灯"}
    del body[missing]
    assert refused(http.post(PATH, json=body), 422)["where"] == f"body.{missing}"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("tickets", "that model is a classifier"),
        ("ticket_summary", "that model is a writer"),
        ("article_answer", "that model is a writer"),
        ("text-embedding-3-small", "no such model answers here"),
        ("faq@9", "no such model answers here"),
    ],
)
def test_a_model_that_makes_no_vectors_is_not_found_and_those_that_do_are_named(
    http: httpx.Client, model: str, words: str
) -> None:
    error = refused(http.post(PATH, json={"model": model, "input": "路灯"}), 404)
    assert (error["message"], error["where"]) == (words, "body.model")
    assert error["expected"] == "one of faq, faq@1, faq_match"


def test_more_texts_than_may_wait_are_too_large(http: httpx.Client) -> None:
    error = refused(http.post(PATH, json={"model": "faq", "input": ["路灯"] * 513}), 413)
    assert (error["where"], error["found"]) == ("body.input", "513")


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b'{"model": "faq", "model": "faq", "input": "a"}', b"[1]"])
def test_what_is_no_json_object_is_refused(http: httpx.Client, content: bytes) -> None:
    response = http.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert http.post(PATH, content=content, headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_million_tokens_are_refused_in_one_line(http: httpx.Client) -> None:
    response = http.post(PATH, json={"model": "faq", "input": [7] * 1_000_000})
    error = refused(response, 422)
    assert "tokens" in error["expected"]
    assert len(response.content) < 2000


def test_a_full_batch_is_answered_in_order(http: httpx.Client) -> None:
    texts = [f"{text}{number}" for number in range(64) for text in TEXTS[:3]]
    body = http.post(PATH, json={"model": "faq", "input": texts}).json()
    alone = http.post(PATH, json={"model": "faq", "input": texts[100]}).json()
    assert body["data"][100]["embedding"] == pytest.approx(alone["data"][0]["embedding"], abs=1e-6)
    assert len(body["data"]) == len(texts)


def test_langchain_finds_the_nearest_text(endpoint: str) -> None:
    langchain = pytest.importorskip("langchain_openai")
    vectors = langchain.OpenAIEmbeddings(
        model="faq",
        base_url=f"{endpoint}/v1",
        api_key="none",
        check_embedding_ctx_length=False,  # texts, not tokens
        http_client=httpx.Client(trust_env=False),
    )
    entries = np.array(vectors.embed_documents(["身份证丢了怎么补", "失业金怎么领"]))
    assert (entries @ np.array(vectors.embed_query("身份证丢了怎么补"))).argmax() == 0
