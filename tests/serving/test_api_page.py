"""Every row of the tables in docs/api.md, sent to the live routes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from openai.types import embedding_create_params, moderation_create_params
from openai.types.audio import transcription_create_params

from hotline.audio import tone
from serving.embeddings import EmbeddingRequest
from serving.moderations import ModerationRequest
from serving.transcription_form import TranscriptionForm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
AUDIO, BATCH, DECISIONS = "/v1/audio/transcriptions", "/v1/tasks/{task}/batch", "/v1/decisions"
EMBEDDINGS = "/v1/embeddings"
MODERATIONS = "/v1/moderations"
LAMP, LID = "城乡建设/市政/路灯", "城乡建设/市政/井盖"
Row = tuple[str, str, int]


def rows(path: str) -> list[Row]:
    """Field, value and status of each row of the section of that route."""
    section = PAGE.read_text(encoding="utf-8").split(f"## POST {path}\n")[1].split("\n## ")[0]
    cells = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(each[0].strip("| `"), each[1].strip("`"), int(each[2])) for each in cells]


@pytest.fixture(scope="module")
def clip() -> bytes:
    content = io.BytesIO()
    sound = tone()
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


def test_the_table_of_transcriptions_has_every_field_of_openai_and_every_one_of_ours() -> None:
    base = transcription_create_params.TranscriptionCreateParamsBase.__annotations__
    named = {field.removesuffix("[]") for field, _, _ in rows(AUDIO)}
    assert named >= {*base, "stream"}
    assert named >= set(TranscriptionForm.model_fields)


@pytest.mark.parametrize("row", rows(AUDIO), ids=str)
def test_a_field_of_transcriptions_is_honoured_or_refused_as_the_page_says(
    http: httpx.Client, clip: bytes, row: Row
) -> None:
    field, value, status = row
    fields = {"model": "speech"} if field == "file" else {"model": "speech", field: value}
    response = http.post(AUDIO, files={"file": (value if field == "file" else "call.wav", clip)}, data=fields)
    assert response.status_code == status, response.text
    if status == 422:
        error = response.json()["error"]
        named = (error["where"] or "") + str(error["details"])
        assert field.removesuffix("[]").split("_")[0] in named


@pytest.mark.parametrize("row", rows(BATCH), ids=str)
def test_a_field_of_a_batch_is_honoured_or_refused_as_the_page_says(http: httpx.Client, row: Row) -> None:
    field, value, status = row
    body = {"inputs": [], field: value if field == "model" else json.loads(value)}
    assert http.post("/v1/tasks/ticket_category/batch", json=body).status_code == status


@pytest.mark.parametrize("row", rows(DECISIONS), ids=str)
def test_a_field_of_a_decision_is_honoured_or_refused_as_the_page_says(http: httpx.Client, row: Row) -> None:
    field, value, status = row
    given: Any = json.loads(value) if field in ("input", "options", "threshold") else value
    options = [LAMP] if value == "predicate" else [LAMP, LID]
    body = {
        "task": "ticket_category",
        "input": {"text": "路灯坏了"},
        "kind": "choice",
        "options": options,
        field: given,
    }
    response = http.post(DECISIONS, json=body)
    assert response.status_code == status, response.text


def test_the_table_of_embeddings_has_every_field_of_openai_and_every_one_of_ours() -> None:
    named = {field for field, _, _ in rows(EMBEDDINGS)}
    assert named >= set(embedding_create_params.EmbeddingCreateParams.__annotations__)
    assert named >= set(EmbeddingRequest.model_fields)


@pytest.mark.parametrize("row", rows(EMBEDDINGS), ids=str)
def test_a_field_of_embeddings_is_honoured_or_refused_as_the_page_says(http: httpx.Client, row: Row) -> None:
    field, value, status = row
    response = http.post(EMBEDDINGS, json={"model": "faq", "input": "身份证丢了", field: json.loads(value)})
    assert response.status_code == status, response.text
    if status != 200:
        assert field in response.json()["error"]["where"]


def test_the_table_of_moderations_has_every_field_of_openai_and_every_one_of_ours() -> None:
    named = {field for field, _, _ in rows(MODERATIONS)}
    assert named >= {*moderation_create_params.ModerationCreateParams.__annotations__}
    assert named >= set(ModerationRequest.model_fields)


@pytest.mark.parametrize("row", rows(MODERATIONS), ids=str)
def test_a_field_of_a_moderation_is_honoured_or_refused_as_the_page_says(http: httpx.Client, row: Row) -> None:
    field, value, status = row
    response = http.post(MODERATIONS, json={"input": "路灯坏了", field: json.loads(value)})
    assert response.status_code == status, response.text
