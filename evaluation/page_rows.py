"""The rows of a comparison as a page shows them: texts, answers, alignments, what got worse, and clips to play."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from data.store import Rows
from evaluation.compare import Comparison
from evaluation.measure import slice_columns, slice_values
from hotline.audio import Audio
from hotline.digests import canonical_json
from hotline.scores import Score
from hotline.task import Answer, Input, Target, Task
from hotline.text import scored, scored_words

Kind = Literal["labels", "transcripts", "texts", "values"]
MAX_ROWS = 20_000
"""Rows in one page; of more, those that differ most."""
CHARACTERS = 6_000_000
"""In one page, so that it stays openable; longer texts are cut."""
SHORTEST_CUT = 120
ALSO = ("dialect", "language", "region", "channel", "source", "label_source", "label_batch")
"""Columns to filter by, beside those that the task is broken down by."""
MAX_VALUES = 300
"""A column with more values is nothing to choose from."""
SEEKABLE_SAMPLES = 8 * 4096
"""In eight blocks: Chromium 156 stops with "demuxer seek failed" in FLAC of three and fewer."""
_OPERATIONS = {"equal": "=", "replace": "s", "delete": "d", "insert": "i"}


def kind(task: Task) -> Kind:
    """How its answers are shown."""
    fields = task.target.model_fields
    if "label" in fields:
        return "labels"
    if "text" in fields:
        return "transcripts" if task.audio_field else "texts"
    return "values"


def text_of(task: Task, target: Target) -> str:
    """What a target says, for people."""
    fields = target.model_dump(mode="json")
    return str(fields.get("label", fields.get("text", canonical_json(fields))))


def input_text(task: Task, given: Input) -> str:
    """What was asked, without its sound."""
    fields = {name: value for name, value in given if name != task.audio_field and value is not None}
    return "\n".join(str(value) for value in fields.values())


def errors(task: Task, targets: Sequence[Target], answers: Sequence[Answer]) -> list[float]:
    """How wrong each answer is, 0 for right: character errors, 1 for a wrong label, else by the task's first score."""
    if kind(task) == "labels":
        pairs = zip(targets, answers, strict=True)
        return [float(text_of(task, target) != text_of(task, answer.target)) for target, answer in pairs]
    if kind(task) == "transcripts":
        from rapidfuzz.distance import Levenshtein

        texts = ((text_of(task, t), text_of(task, a.target)) for t, a in zip(targets, answers, strict=True))
        return [float(Levenshtein.distance(scored(reference), scored(said))) for reference, said in texts]
    return _by_score(next(iter(task.scores.values())), targets, answers)


def _by_score(score: Score, targets: Sequence[Target], answers: Sequence[Answer]) -> list[float]:
    from scipy import sparse

    table = sparse.csr_array(score.statistics(targets, answers))
    values = np.concatenate([score.finish(table[[row]].toarray()) for row in range(len(targets))])
    worse = 1 - values if score.higher_is_better else values
    return [float(value) for value in np.nan_to_num(worse, nan=0.0)]


def alignment(reference: str, said: str) -> str:
    """A shortest alignment as runs of same, substituted, deleted and inserted characters: `5=1s3=2d`.

    Blanks count as little as they do in the score.
    """
    from rapidfuzz.distance import Levenshtein

    runs = Levenshtein.opcodes(reference.replace(" ", ""), said.replace(" ", ""))
    return "".join(
        f"{max(run.src_end - run.src_start, run.dest_end - run.dest_start)}{_OPERATIONS[run.tag]}" for run in runs
    )


def worst_first(wrong: Sequence[Sequence[float]]) -> list[int]:
    """Row numbers by how much the worst of the other systems lost on the first one, then by errors.

    `wrong` has the errors of every system by row.
    """
    table = np.asarray(wrong, dtype=np.float64)
    lost = (table[1:] - table[0]).max(axis=0) if len(table) > 1 else table[0]
    return [int(row) for row in np.lexsort((np.arange(table.shape[1]), -table.max(axis=0), -lost))]


def shown(comparison: Comparison, count: int) -> dict[str, Any]:
    """What the page has of the rows: columns, texts, confidences, errors, and the sound of the `count` worst."""
    task, tested, systems = comparison.declared, comparison.tested, comparison.systems
    wrong = [errors(task, tested.targets, system.answers) for system in systems]
    order = worst_first(wrong)
    kept = sorted(order[:MAX_ROWS])
    length = max(SHORTEST_CUT, CHARACTERS // (max(len(kept), 1) * (2 * len(systems) + 3)))
    sounds = clips(task, tested.inputs, {str(row): row for row in order[:count]}) if task.audio_field else {}
    return {
        "total": len(tested),
        "ids": [tested.ids[row] for row in kept],
        "columns": {name: _coded(values, kept) for name, values in _columns(task, tested).items()},
        "texts": [_texts(task, tested, [system.answers[row] for system in systems], row, length) for row in kept],
        "confidence": [[round(1000 * system.answers[row].confidence) for row in kept] for system in systems],
        "errors": [[round(each[row], 4) for row in kept] for each in wrong],
        "clips": {str(number): sounds[str(row)] for number, row in enumerate(kept) if str(row) in sounds},
    }


def _columns(task: Task, tested: Rows) -> dict[str, list[str]]:
    """What rows can be filtered by: every column that has a few values."""
    named = dict.fromkeys([*slice_columns(task), *ALSO])
    found = {name: list(slice_values(task, name, tested)) for name in named}
    return {name: values for name, values in found.items() if 1 < len(set(values)) <= MAX_VALUES}


def _coded(values: Sequence[str], kept: Sequence[int]) -> dict[str, Any]:
    distinct = sorted(set(values))
    index = {value: number for number, value in enumerate(distinct)}
    return {"values": distinct, "codes": [index[values[row]] for row in kept]}


def _texts(task: Task, tested: Rows, answers: Sequence[Answer], row: int, length: int) -> list[Any]:
    """[input, truth, truth as scored, [answer, answer as scored, alignment] per system]; one row's texts together,
    which compresses best."""
    truth = text_of(task, tested.targets[row])
    given = _cut(input_text(task, tested.inputs[row]), length)
    if kind(task) != "transcripts":
        return [given, _cut(truth, length), None, [[_cut(text_of(task, a.target), length)] for a in answers]]
    reference = _cut(scored_words(truth), length)
    said = [(text, _cut(scored_words(text), length)) for text in (text_of(task, answer.target) for answer in answers)]
    aligned = [[_cut(raw, length), plain, alignment(reference, plain)] for raw, plain in said]
    return [given, _cut(truth, length), reference, aligned]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def clips(task: Task, inputs: Sequence[Input], rows: Mapping[str, int]) -> dict[str, str]:
    """The sound of these rows, by the names given, in base64."""
    field = str(task.audio_field)
    return {name: base64.b64encode(sound(getattr(inputs[row], field))).decode() for name, row in rows.items()}


def sound(audio: Audio) -> bytes:
    """The sound without loss, as browsers play it: FLAC, and WAV where FLAC's few blocks are too few to seek in."""
    import soundfile

    sink, short = io.BytesIO(), len(audio.samples) < SEEKABLE_SAMPLES
    soundfile.write(sink, audio.samples, audio.sample_rate_hz, format="WAV" if short else "FLAC", subtype="PCM_16")
    return sink.getvalue()
