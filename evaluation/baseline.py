"""Is a figure honest? What TF-IDF or the lead sentence makes of the same rows, and the model of other rows' inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotline import families
from hotline.errors import InputError
from hotline.families import Family
from hotline.task import Answer, Input, Task

if TYPE_CHECKING:
    from data.store import Rows

TOP = 3
_SENTENCE = re.compile(r"[。！？!?\n]")


def tfidf_scores(task: Task, train: Rows, test: Rows) -> dict[str, float]:
    """The task's scores of TF-IDF (characters, 1 to 3-grams) with logistic regression, on the same rows.

    Raises InputError for a task without labels.
    """
    answers = tfidf_answers(task, train, test)
    return {name: score(test.targets, answers) for name, score in task.scores.items()}


def tfidf_answers(task: Task, train: Rows, test: Rows) -> list[Answer]:
    """The baseline's answers to the test rows, with alternatives and confidences. Raises InputError without labels."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    field = task.label_field
    if field is None:
        raise InputError(f"{task.name} has no labels to regress on", expected="a target with a path of the label tree")
    pipeline = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10, max_iter=1000),
    )
    pipeline.fit([_text(given) for given in train.inputs], [getattr(target, field) for target in train.targets])
    shares = pipeline.predict_proba([_text(given) for given in test.inputs])
    return [_answer(task, field, pipeline.classes_, row) for row in shares]


def lead_answers(field: str, task: Task, inputs: Sequence[Input]) -> list[Answer]:
    """The first sentence of each input's texts as its answer, in the target's `field`: hard to beat in news, not here.

    A sentence longer than the field allows is cut.
    """
    rules = task.target.model_fields[field].metadata
    longest = next((rule.max_length for rule in rules if hasattr(rule, "max_length")), None)
    texts = [_text(given).strip() for given in inputs]
    leads = [_SENTENCE.split(text, maxsplit=1)[0].strip() or text for text in texts]
    return [Answer(target=task.target.model_validate({field: lead[:longest]}), confidence=1.0) for lead in leads]


def shuffled_control(task: Task, family: Family, model: Any, rows: Rows, seed: int) -> dict[str, float]:
    """The task's scores when the model is given the inputs of other rows: near chance, or the figure is a leak."""
    order = np.random.default_rng(seed).permutation(len(rows))
    answers = families.answer(family, model, [rows.inputs[number] for number in order])
    return {name: score(rows.targets, answers) for name, score in task.scores.items()}


def _text(given: Input) -> str:
    return "\n".join(str(value) for value in given.model_dump().values() if value is not None)


def _answer(task: Task, field: str, classes: Any, shares: Any) -> Answer:
    best, *others = np.argsort(-shares)[:TOP]
    return Answer(
        target=task.target.model_validate({field: str(classes[best])}),
        confidence=min(1.0, float(shares[best])),
        alternatives=tuple(
            (task.target.model_validate({field: str(classes[other])}), float(shares[other])) for other in others
        ),
    )
