"""The training rows that are nearest to what a caller asked: what a version may have had its answer from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hotline.errors import HotlineError

if TYPE_CHECKING:
    from data.snapshot import Rows
    from hotline.requests import RequestId
    from hotline.settings import Settings
    from hotline.task import Input, Target, Task

NEAREST = 5
LATE_SECONDS = 3600.0
"""A call is captured when it has been answered: so long after its id was made at most."""


def nearest(task: Task, rows: Rows, text: str) -> list[dict[str, Any]]:
    """The rows with the most alike words, most alike first: id, likeness in [0, 1], target and label batch.

    Cosine of TF-IDF over pairs and triples of characters; of recordings, their transcripts are compared. Nothing of
    what was asked has to be alike for the model: this is about words, not about how it computed.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [words(task, *pair) for pair in zip(rows.inputs, rows.targets, strict=True)]
    if not any(texts):
        return []  # recordings without transcripts
    weights = TfidfVectorizer(analyzer="char", ngram_range=(2, 3), sublinear_tf=True)
    likeness = (weights.fit_transform(texts) @ weights.transform([text]).T).toarray()[:, 0]
    return [
        {
            "id": rows.ids[n],
            "likeness": round(float(likeness[n]), 4),
            "target": rows.targets[n].model_dump(mode="json"),
            "label batch": rows.provenance["label_batch"][n],
        }
        for n in (-likeness).argsort(kind="stable")[:NEAREST]
    ]


def words(task: Task, question: Input, target: Target) -> str:
    """What is compared: the input's text, or what was said in a recording."""
    return _joined(task, (target if task.audio_field else question).model_dump())


def _joined(task: Task, said: Mapping[str, Any]) -> str:
    if task.audio_field:
        return str(said.get("text", ""))
    return "\n".join(value for value in said.values() if isinstance(value, str))


def captured(settings: Settings, task: Task, named: RequestId) -> str | None:
    """What was asked in that request, when it was captured and this machine may open it; else None."""
    from serving.capture import rows

    since = named.time.timestamp() - 1
    try:
        for each in rows.asked(settings, task, since, since + LATE_SECONDS):
            if each.id == str(named):
                return _joined(task, (each.answer or {}) if task.audio_field else each.input) or None
    except HotlineError:
        return None  # without the capture key, nobody is told what was captured
    return None
