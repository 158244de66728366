"""Schemathesis over the live OpenAPI document: no 5xx, no answer off its schema, nothing undocumented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from hotline.tasks import TASKS

LABELS = ["城乡建设/市政/路灯", "交通", "环保/噪音"]
SETTINGS = """
seed = 7
hooks = "{hooks}"

[checks]
# What fields together ask for, and what a version is able to do, is in no JSON schema: a 422 with its reason.
positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "413", "422"]
# A body over the site's limit is refused before anybody reads its fields.
negative_data_rejection.expected-statuses = ["400", "404", "405", "409", "413", "415", "422"]

[generation]
max-examples = {examples}
deterministic = true
no-shrink = true

[cache]
enabled = false
"""


def document(endpoint: str) -> dict[str, Any]:
    """The document, with names that this site has, so that requests get behind its first door."""
    with httpx.Client(base_url=endpoint, trust_env=False) as http:
        found: dict[str, Any] = http.get("/openapi.json").json()
        served = {each["name"] for each in http.get("/v1/tasks").json()["tasks"] if each["served"]}
    schemas, paths = found["components"]["schemas"], found["paths"]
    for task in set(TASKS) - served:  # their 503 is right, and tested elsewhere
        paths = {path: each for path, each in paths.items() if path.split("/")[3:4] != [task]}
    asked, form = schemas["ChatRequest"], _form(paths["/v1/audio/transcriptions"])
    asked["properties"]["model"] = {"enum": ["titles", "titles@1", "ticket_summary"]}
    asked["properties"]["max_completion_tokens"] = {"type": "integer", "minimum": 1, "maximum": 12}
    asked["required"].append("max_completion_tokens")  # this writer seldom ends by itself
    form["properties"]["model"] = {"enum": ["speech", "speech@1", "transcription"]}
    schemas["EmbeddingRequest"]["properties"]["model"] = {"enum": ["faq", "faq@1", "faq_match"]}
    # two fields that say the same, or fields of another kind of question, are refused together
    del asked["properties"]["max_tokens"], form["properties"]["language"]
    form["properties"]["languages[]"]["items"] = {"enum": ["zh", "yue", "en"]}
    words = form["properties"]["keywords[]"]  # one field of a form is a list of one, and a number in it a text:
    del words["type"], words["items"]["type"]  # no type can be wrong here
    schemas["ModerationRequest"]["properties"]["model"] = {"enum": ["reviews", "reviews@1", "review_label"]}
    question = schemas["Question"]
    question["required"].append("options")
    question["properties"] = {
        "task": {"enum": ["ticket_category"]},
        "kind": {"enum": ["choice"]},
        "input": {"$ref": "#/components/schemas/TicketText"},
        "options": {"type": "array", "items": {"enum": LABELS}, "minItems": 1, "uniqueItems": True},
    }
    return {**found, "paths": paths}


def _form(path: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = path["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    return form


def check(endpoint: str, folder: Path, examples: int, phases: str) -> None:
    """Run Schemathesis; what it found is the message of the failure."""
    hooks = Path(__file__).with_name("recording_format.py")
    (folder / "schemathesis.toml").write_text(SETTINGS.format(hooks=hooks, examples=examples))
    (folder / "openapi.json").write_text(json.dumps(document(endpoint)))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "openapi.json"]
    options = ["--url", endpoint, "--phases", phases, "--continue-on-failure", "--no-color"]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1"}
    said = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout[-20_000:] + said.stderr[-2_000:]


def test_a_few_requests_to_every_route_are_answered_as_the_document_says(endpoint: str, tmp_path: Path) -> None:
    check(endpoint, tmp_path, 5, "examples,fuzzing")


@pytest.mark.slow
def test_thousands_of_requests_are_answered_as_the_document_says(endpoint: str, tmp_path: Path) -> None:
    check(endpoint, tmp_path, 100, "examples,coverage,fuzzing,stateful")
