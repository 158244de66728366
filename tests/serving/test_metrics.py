"""What /metrics tells of live endpoints."""

from __future__ import annotations

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.watch import meters

PATH = "/v1/tasks/ticket_category"
TASK = "ticket_category"


def told(http: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape, by its name and its labels."""
    response = http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(http: httpx.Client, name: str, **labels: str) -> float:
    """The sum over all samples of that name with those labels."""
    return sum(value for (found, has), value in told(http).items() if found == name and set(labels.items()) <= has)


def test_answers_and_refusals_are_counted_by_task_version_and_status(http: httpx.Client) -> None:
    of = {"task": TASK, "version": http.post(PATH, json={"text": "路灯坏了"}).headers["x-model"] + "@"}
    version = http.post(PATH, json={"text": "路灯坏了"}).headers
    of["version"] = f"{version['x-model']}@{version['x-model-version']}"
    before = total(http, "hotline_requests_total", **of, status="200")
    seconds = total(http, "hotline_request_seconds_count", **of)
    for n in range(3):
        http.post(PATH, json={"text": f"井盖丢了{n}"})
    refusals = total(http, "hotline_requests_total", status="422")
    http.post(PATH, json={"text": 5})
    assert total(http, "hotline_requests_total", **of, status="200") == before + 3
    assert total(http, "hotline_request_seconds_count", **of) == seconds + 3
    assert total(http, "hotline_requests_total", status="422") == refusals + 1
    assert total(http, "hotline_answers_total", **of) >= 3
    assert total(http, "hotline_batch_rows_sum", **of) >= 3
    assert total(http, "hotline_compute_seconds_total", **of) > 0
    assert total(http, "hotline_served_info", **of, outcome="passed") == 1


def test_a_recording_is_counted_by_dialect_and_in_seconds_of_sound(http: httpx.Client, recording: bytes) -> None:
    before = total(http, "hotline_audio_seconds_total", task="transcription")
    said = http.post("/v1/tasks/transcription", files={"file": ("call.wav", recording)}).json()
    dialect = said["answer"]["dialect"]
    assert total(http, "hotline_answers_total", task="transcription", dialect=dialect) >= 1
    assert total(http, "hotline_audio_seconds_total", task="transcription") > before
    assert total(http, "hotline_real_time_factor_count", task="transcription") >= 1


def test_a_text_that_is_streamed_tells_its_first_token_and_the_gaps_between(http: httpx.Client) -> None:
    asked: dict[str, object] = {
        "model": "titles",
        "messages": [{"role": "user", "content": "路灯坏了"}],
        "stream": True,
    }
    asked["max_completion_tokens"] = 8
    names = [f"hotline_{name}" for name in ("first_token_seconds_count", "tokens_total", "inter_token_seconds_count")]
    before = [total(http, name, task="ticket_summary") for name in names]
    assert http.post("/v1/chat/completions", json=asked).status_code == 200
    after = [total(http, name, task="ticket_summary") for name in names]
    first, written, gaps = (now - then for now, then in zip(after, before, strict=True))
    assert first == 1
    assert 8 >= written >= first + gaps


def test_the_map_and_the_controller_are_told(http: httpx.Client) -> None:
    assert total(http, "hotline_route_map") == http.get("/readyz").json()["map"]
    assert total(http, "hotline_ingress_processes") == 1
    assert time.time() - total(http, "hotline_controller_heard_timestamp_seconds") < 60
    assert total(http, "hotline_refused_candidate", task=TASK) == 0


def test_no_label_takes_what_a_caller_sends(http: httpx.Client) -> None:
    http.post("/v1/tasks/nothing_of_ours", json={"text": "秘密"})
    http.post(PATH, json={"text": "秘密的话"}, headers={"X-Call-Id": "call-4711"})
    text = http.get("/metrics").text
    assert not any(word in text for word in ("nothing_of_ours", "秘密", "call-4711"))


def test_every_metric_that_is_declared_has_a_name_of_ours_and_a_help() -> None:
    names = [each.name for each in meters.ALL]
    assert len(set(names)) == len(names)
    assert all(name.startswith("hotline_") for name in names)
    assert all(each.name.endswith("_total") for each in meters.ALL if each.kind == "counter")
