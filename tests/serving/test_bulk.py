"""Batches, jobs and decisions, live."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hotline import requests
from hotline.families import answer, classifier
from hotline.tasks import find

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
SINGLE, BATCH, JOBS, DECISIONS = (
    "/v1/tasks/ticket_category",
    "/v1/tasks/ticket_category/batch",
    "/v1/jobs",
    "/v1/decisions",
)
LAMP, LID, BUS = "城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点"


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert response.headers.get_list("x-request-id") == [error["request_id"]]
    return error


def test_a_batch_is_answered_in_order_by_one_version_and_a_bad_row_has_its_reason(http: httpx.Client) -> None:
    rows: list[Any] = [{"text": f"路灯坏了{n}"} for n in range(100)]
    rows[3], rows[7] = {"text": 5}, "路灯"
    body = http.post(BATCH, json=rows).json()
    assert [each["index"] for each in body["answers"]] == list(range(100))
    assert {n for n, each in enumerate(body["answers"]) if "error" in each} == {3, 7}
    assert body["answers"][3]["error"]["where"] == "text"
    assert "路灯" not in json.dumps(body["answers"][7], ensure_ascii=False)
    single = http.post(SINGLE, json=rows[50]).json()
    assert body["answers"][50]["answer"] == single["answer"]
    assert body["answers"][50]["confidence"] == pytest.approx(single["confidence"], abs=1e-6)
    assert body["provenance"] == single["provenance"]
    assert requests.parse(body["id"]).task == TASK.name
    named = http.post(BATCH, json={"inputs": rows}).json()["answers"]
    assert [each.get("answer") for each in named] == [each.get("answer") for each in body["answers"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ("text", 422), ({"inputs": [], "model": "x"}, 422), ([{}] * 513, 413), ({"inputs": {}}, 422)],
    ids=["empty", "text", "unknown field", "too many", "no list"],
)
def test_a_batch_that_is_no_list_is_refused(http: httpx.Client, body: Any, status: int) -> None:
    refused(http.post(BATCH, json=body), status)


def test_recordings_have_no_batch(http: httpx.Client) -> None:
    assert "one at a time" in refused(http.post("/v1/tasks/transcription/batch", json=[]), 422)["message"]
    refused(http.post("/v1/tasks/weather/batch", json=[]), 404)


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def begun(http: httpx.Client, table: bytes) -> dict[str, Any]:
    response = http.post(JOBS, files={"file": ("rows.jsonl", table)}, data={"task": TASK.name})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    return job


def finished(http: httpx.Client, job: str) -> list[dict[str, Any]]:
    give_up = time.monotonic() + 120
    while http.get(f"{JOBS}/{job}").json()["status"] != "done":
        assert time.monotonic() < give_up
        time.sleep(0.1)
    return [json.loads(line) for line in http.get(f"{JOBS}/{job}/result").content.splitlines()]


def test_a_job_answers_every_line_or_says_why_not(http: httpx.Client) -> None:
    table = lines([{"text": f"井盖丢失{n}"} for n in range(40)]) + b'{"text": 1}\n{broken\n\n' + b'{"text": "\xff"}'
    job = begun(http, table)
    answers = finished(http, job["id"])
    assert [each["line"] for each in answers] == list(range(1, 45))
    assert [each["line"] for each in answers if "error" in each] == [41, 42, 43, 44]
    assert requests.parse(answers[0]["id"]).task == TASK.name
    assert answers[0]["answer"] == http.post(SINGLE, json={"text": "井盖丢失0"}).json()["answer"]
    again = begun(http, table)
    assert (again["id"], again["status"], again["done"]) == (job["id"], "done", 44)
    assert http.delete(f"{JOBS}/{job['id']}").status_code == 204
    refused(http.get(f"{JOBS}/{job['id']}"), 404)
    refused(http.get(f"{JOBS}/{job['id']}/result"), 404)


def test_a_job_goes_on_where_it_stopped(http: httpx.Client, live_site: Site) -> None:
    """What a killed process leaves behind: some lines answered, the last one torn."""
    table = lines([{"text": f"公交晚点{n}"} for n in range(20)])
    place = live_site.settings.state / "jobs" / ("0" * 64)
    partial = place.with_name(".partial")
    partial.mkdir(parents=True)
    (partial / "input.jsonl").write_bytes(table)
    (partial / "result.jsonl").write_bytes(
        lines([{"line": 1, "answer": "kept"}, {"line": 2, "answer": "kept"}]) + b'{"li'
    )
    said = {"task": TASK.name, "created": int(time.time()), "lines": 20}
    (partial / "job.json").write_text(json.dumps(said))
    partial.rename(place)
    answers = finished(http, place.name)
    assert [each["line"] for each in answers] == list(range(1, 21))
    assert [each["answer"] for each in answers[:2]] == ["kept", "kept"]
    assert answers[2]["answer"]["label"]


def test_a_job_whose_time_has_passed_is_deleted(http: httpx.Client, live_site: Site) -> None:
    place = live_site.settings.state / "jobs" / ("1" * 64)
    partial = place.with_name(".expired")
    partial.mkdir(parents=True)
    (partial / "result.jsonl").touch()
    (partial / "job.json").write_text(json.dumps({"task": TASK.name, "created": 1, "lines": 1}))
    partial.rename(place)
    give_up = time.monotonic() + 30
    while place.exists():
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.mark.parametrize("job", ["..", "%2e%2e", "..%2f..%2fpolicy", "A" * 64, "0" * 63, "0" * 64 + "x", "%00"])
def test_a_job_is_found_by_its_id_only(http: httpx.Client, job: str) -> None:
    for address in (f"{JOBS}/{job}", f"{JOBS}/{job}/result"):
        assert http.get(address).status_code in (404, 405)
    assert http.delete(f"{JOBS}/{job}").status_code in (404, 405)


def test_a_job_needs_a_task_of_texts_and_a_table(http: httpx.Client) -> None:
    file = {"file": ("rows.jsonl", b'{"text": "ab"}')}
    assert refused(http.post(JOBS, files=file), 422)["where"] == "body.task"
    refused(http.post(JOBS, files=file, data={"task": "weather"}), 404)
    refused(http.post(JOBS, files=file, data={"task": "transcription"}), 422)
    refused(http.post(JOBS, files={"file": ("rows.jsonl", b"")}, data={"task": TASK.name}), 422)
    refused(http.post(JOBS, json=[]), 415)


@pytest.fixture(scope="module")
def probabilities(live_site: Site) -> dict[str, float]:
    """Of every leaf, for one text, as the family itself tells them."""
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    model = classifier.load(live_site.settings.verified / champion.record.model.digest, TASK)
    [said] = answer(classifier, model, [TASK.input.model_validate({"text": "路灯坏了"})])  # type: ignore[arg-type]
    every = [(said.target, said.confidence), *said.alternatives]
    return {getattr(target, "label"): share for target, share in every}  # noqa: B009


def decided(http: httpx.Client, **question: Any) -> dict[str, Any]:
    response = http.post(DECISIONS, json={"task": TASK.name, "input": {"text": "路灯坏了"}, **question})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    assert sum(each["probability"] for each in body["probabilities"]) == pytest.approx(1)
    return body


def test_a_choice_among_some_is_renormalised(http: httpx.Client, probabilities: dict[str, float]) -> None:
    body = decided(http, kind="choice", options=[LID, BUS])
    mass = probabilities[LID] + probabilities[BUS]
    assert body["answer"] == max((LID, BUS), key=probabilities.__getitem__)
    assert body["confidence"] == pytest.approx(probabilities[body["answer"]] / mass, abs=1e-5)
    assert body["mass"] == pytest.approx(mass, abs=1e-5)
    assert requests.parse(body["id"]).task == TASK.name


def test_a_branch_is_a_choice_among_its_leaves(http: httpx.Client) -> None:
    body = decided(http, kind="choice", branch="城乡建设")
    assert {each["option"] for each in body["probabilities"]} == {LAMP, LID}


def test_a_predicate_is_the_probability_of_a_branch(http: httpx.Client, probabilities: dict[str, float]) -> None:
    share = probabilities[LAMP] + probabilities[LID]
    body = decided(http, kind="predicate", options=["城乡建设/市政"])
    assert body["answer"] is (share >= 0.5)
    shown = {each["option"]: each["probability"] for each in body["probabilities"]}
    assert shown["true"] == pytest.approx(share, abs=1e-5)
    assert decided(http, kind="predicate", options=["城乡建设"], threshold=0.999)["answer"] is (share >= 0.999)


def test_a_score_is_an_expected_value(http: httpx.Client, probabilities: dict[str, float]) -> None:
    body = decided(http, kind="score", values={LAMP: 1, "交通": -1})
    good, bad = probabilities[LAMP], probabilities[BUS]
    assert body["answer"] == pytest.approx((good - bad) / (good + bad), abs=1e-5)


@pytest.mark.parametrize(
    ("question", "where"),
    [
        ({"kind": "choice"}, "body"),
        ({"kind": "choice", "options": [LAMP, "城乡建设/市政/路"]}, "body.options.1"),
        ({"kind": "choice", "options": [LAMP, "城乡建设"]}, "body.options.0"),
        ({"kind": "choice", "options": [LAMP, LAMP]}, "body.options.1"),
        ({"kind": "choice", "branch": "城乡"}, "body.branch"),
        ({"kind": "choice", "options": [LAMP], "branch": "交通"}, "body"),
        ({"kind": "predicate", "options": [LAMP, LID]}, "body"),
        ({"kind": "predicate", "options": [LAMP], "threshold": 1}, "body.threshold"),
        ({"kind": "score", "options": [LAMP]}, "body"),
        ({"kind": "rank", "options": [LAMP]}, "body.kind"),
        ({"kind": "choice", "options": [LAMP], "task": "transcription"}, "body.task"),
        ({"kind": "choice", "options": [LAMP], "input": {"text": ""}}, "body.input.text"),
        ({"kind": "choice", "options": [LAMP], "model": "tickets"}, "body.model"),
    ],
    ids=str,
)
def test_a_question_that_makes_no_sense_is_refused_by_field(
    http: httpx.Client, question: dict[str, Any], where: str
) -> None:
    body = {"task": TASK.name, "input": {"text": "路灯坏了"}, **question}
    assert refused(http.post(DECISIONS, json=body), 422)["where"] == where
