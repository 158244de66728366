"""Drift of live endpoints, against a reference that lies beside them."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np

from hotline import drift
from hotline.tasks import find
from serving.watch.drift import add, started

TASK = find("ticket_category")
TOPICS = ("城乡建设", "交通", "环保")


def usual(rows: int, seed: int) -> dict[str, list[Any]]:
    """Values of every signal of a classifier of tickets."""
    draw = np.random.default_rng(seed)
    topics = draw.choice(TOPICS, rows).tolist()
    text = [f"{topic}的{n}号事情没人管" for topic, n in zip(topics, draw.integers(99, size=rows), strict=True)]
    lengths = [float(len(each)) for each in text]
    return {"text": text, "length": lengths, "answer": topics, "confidence": draw.beta(8, 2, rows).tolist()}


def known(digest: str = "a" * 64) -> drift.Reference:
    return drift.refer(TASK.name, digest, "b" * 64, usual(1000, seed=0))


def rows(values: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def test_windows_are_full_after_as_many_requests_however_they_come() -> None:
    reference = known()
    state, seen = started(reference, "tickets@1"), rows(usual(1700, seed=1))
    flagged = [signals for n in range(0, 1700, 170) for signals in add(state, reference, seen[n : n + 170])]
    assert (state.windows, state.filled, flagged) == (3, 200, [])
    assert all(signal.divergence is not None for signal in state.signals)


def test_a_window_that_moved_names_its_signals_and_goes_on() -> None:
    reference = known()
    state, moved = started(reference, "tickets@1"), usual(500, seed=2) | {"answer": ["环保"] * 500}
    assert list(add(state, reference, rows(moved))) == [["answer"]]
    assert list(add(state, reference, rows(usual(500, seed=3)))) == []
    (answer,) = [signal for signal in state.signals if signal.name == "answer"]
    assert (answer.alarms, answer.flagged) == (1, False)


def test_the_windows_of_one_reference_are_not_those_of_the_next() -> None:
    state = started(known(), "tickets@1")
    assert state.follows(known())
    assert not state.follows(drift.refer(TASK.name, "a" * 64, "b" * 64, usual(1000, seed=5)))


def test_what_is_kept_of_requests_is_no_text() -> None:
    reference = known()
    state = started(reference, "tickets@1")
    list(add(state, reference, rows(usual(100, seed=1))))
    assert "没人管" not in state.model_dump_json()


def test_live_requests_that_moved_are_flagged_in_the_listing_and_in_the_metrics(
    drifting: str, http: httpx.Client
) -> None:
    (found,) = [each for each in http.get("/v1/drift").json()["versions"] if each["task"] == TASK.name]
    assert {"text", "length"} <= {signal["name"] for signal in found["signals"] if signal["alarms"]}
    scraped = http.get("/metrics").text
    flagged = [line for line in scraped.splitlines() if line.startswith("hotline_drift_alarms_total")]
    assert any('signal="text"' in line and not line.endswith(" 0.0") for line in flagged)
    assert drifting not in scraped
