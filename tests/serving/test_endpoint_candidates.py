"""A served task of another deployment as a candidate: what it answers is what a caller hears."""

from __future__ import annotations

import pytest

from evaluation import endpoints
from hotline.audio import tone
from hotline.labels import LabelTree
from hotline.tasks import find
from serving.client import predict

LABELS = ("城乡建设/市政/路灯", "环保/噪音/施工")

TICKETS, SPEECH = find("ticket_category"), find("transcription")


def test_a_served_task_is_asked_as_applications_ask_it(endpoint: str) -> None:
    texts = [f"路灯坏了 {n}" for n in range(8)]
    inputs = [TICKETS.input.model_validate({"text": text}) for text in texts]
    said, usage = endpoints.answer_rows(endpoints.at(endpoint), TICKETS, inputs, texts, LabelTree.of(LABELS))
    heard = list(predict(endpoint, TICKETS.name, [{"text": text} for text in texts]))
    assert [answer.target.model_dump() for answer in said] == [body["answer"] for body in heard]
    assert [answer.confidence for answer in said] == pytest.approx([body["confidence"] for body in heard], abs=1e-6)
    origin = heard[0]["provenance"]
    assert usage.versions == (f"{origin['model']}@{origin['version']}",)


def test_a_served_recogniser_is_sent_the_sound(endpoint: str) -> None:
    inputs = [SPEECH.input.model_validate({"audio": tone(seconds)}) for seconds in (1.0, 2.0)]
    said, usage = endpoints.answer_rows(endpoints.at(endpoint), SPEECH, inputs, ["a", "b"])
    assert [type(answer.target) for answer in said] == [SPEECH.target] * 2
    assert usage.audio_seconds == 3.0
