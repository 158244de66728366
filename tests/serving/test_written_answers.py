"""A writer behind its task's route, live: the same words as the judged model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from hotline import families
from hotline.families import writer
from hotline.tasks import find

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_summary")
TEXTS = ("城乡建设/市政/路灯坏了", "交通/公交/晚点坏了", "门口的路灯坏了三天，请尽快派人维修。")


def test_the_route_writes_what_the_judged_model_writes(live_site: Site, http: httpx.Client) -> None:
    champion = live_site.ledger.read().champion(TASK.name)
    assert champion
    model = writer.load(live_site.settings.verified / champion.record.model.digest, TASK)
    inputs = [TASK.input.model_validate({"text": text}) for text in TEXTS]
    for text, expected in zip(TEXTS, families.answer(writer, model, inputs), strict=True):  # type: ignore[arg-type]
        reply = http.post(f"/v1/tasks/{TASK.name}", json={"text": text})
        assert reply.status_code == 200, reply.text
        assert reply.json()["answer"] == expected.target.model_dump()
        assert reply.json()["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
        assert reply.json()["provenance"]["digest"] == champion.record.model.digest


def test_a_task_without_a_champion_says_so_and_not_that_it_is_unknown(http: httpx.Client) -> None:
    reply = http.post("/v1/tasks/article_answer", json={"document": "六十日内办理。", "question": "多久以内？"})
    assert reply.status_code not in (200, 404)
    assert reply.json()["error"]["next"]
