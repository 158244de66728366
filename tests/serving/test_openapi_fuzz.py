"""Schemathesis over the live OpenAPI document: no 5xx, no answer off its schema, nothing undocumented."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
import schemathesis
import soundfile
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from hotline.audio import tone
from hotline.tasks import TASKS

WAITS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
CHECKS = {
    # what fields together ask for, and what a version is able to do, no JSON schema says: that is a 422 with a reason
    "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "413", "422"]},
    # a body over the site's limit is refused before anybody reads its fields
    "negative_data_rejection": {"expected-statuses": ["400", "404", "405", "409", "413", "415", "422"]},
}


def config(endpoint: str, examples: int, systematic: bool) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 7,
            "base-url": endpoint,
            "request-timeout": 90,
            "checks": CHECKS,
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
            "phases": {"coverage": {"enabled": systematic}},
        }
    )


def document(endpoint: str) -> dict[str, Any]:
    """The document, with names that this site has, so that requests get behind its first door."""
    found: dict[str, Any] = httpx.get(f"{endpoint}/openapi.json", trust_env=False).json()
    schemas, paths = found["components"]["schemas"], found["paths"]
    served = {
        each["name"] for each in httpx.get(f"{endpoint}/v1/tasks", trust_env=False).json()["tasks"] if each["served"]
    }
    for task in set(TASKS) - served:  # their 503 is right, and tested elsewhere
        paths = {path: each for path, each in paths.items() if path.split("/")[3:4] != [task]}
    asked, form = schemas["ChatRequest"], _form(paths["/v1/audio/transcriptions"])
    asked["properties"]["model"] = {"enum": ["titles", "titles@1", "ticket_summary"]}
    asked["properties"]["max_completion_tokens"] = {"type": "integer", "minimum": 1, "maximum": 12}
    asked["required"].append("max_completion_tokens")  # this writer seldom ends by itself
    form["properties"]["model"] = {"enum": ["speech", "speech@1", "transcription"]}
    schemas["Question"]["properties"]["task"] = {"enum": ["ticket_category"]}
    for path in paths.values():
        for call in path.values():
            if "multipart/form-data" in call.get("requestBody", {}).get("content", {}) and "jobs" not in call["tags"]:
                _form(path)["properties"]["file"]["format"] = "recording"
    return {**found, "paths": paths}


def _form(path: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = path["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    return form


def recording() -> bytes:
    content = io.BytesIO()
    sound = tone(0.4)
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


schemathesis.openapi.format("recording", st.one_of(st.just(recording()), st.binary(max_size=200)))


@pytest.fixture(scope="module")
def few(endpoint: str) -> Any:
    return schemathesis.openapi.from_dict(document(endpoint), config=config(endpoint, 6, systematic=False))


@pytest.fixture(scope="module")
def many(endpoint: str) -> Any:
    return schemathesis.openapi.from_dict(document(endpoint), config=config(endpoint, 60, systematic=True))


@schemathesis.pytest.from_fixture("few").parametrize()
@settings(suppress_health_check=WAITS)
def test_a_few_requests_are_answered_as_the_document_says(case: schemathesis.Case) -> None:
    case.call_and_validate()


@pytest.mark.slow
@schemathesis.pytest.from_fixture("many").parametrize()
@settings(suppress_health_check=WAITS)
def test_many_requests_are_answered_as_the_document_says(case: schemathesis.Case) -> None:
    case.call_and_validate()
