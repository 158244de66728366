"""Figures overall and for every value of every slice, differences on the same rows, files that are complete."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import f1_score

from evaluation import answers as files
from evaluation.findings import decide, outcome
from evaluation.leaks import leaks
from evaluation.measure import differences, flat, measure, slice_columns, slice_values
from hotline.audio import tone
from hotline.digests import of_file
from hotline.errors import RefusedError
from hotline.records import Figure
from hotline.task import Answer, Bar
from hotline.tasks.speech.transcription import TRANSCRIPTION, CallAudio, Transcript
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from hotline.tasks.tickets.ticket_category import Category


def one(figures: tuple[Figure, ...], score: str, value: str | None = None) -> Figure:
    (found,) = [figure for figure in figures if figure.score == score and figure.value == value]
    return found


def test_a_weak_region_shows_in_its_slice_and_not_elsewhere(table: Any, answers: Any) -> None:
    rows = table(200, regions=("天河", "香江"))
    figures = measure(TASK, rows.targets, answers(rows, wrong=lambda number: number % 4 == 1), rows)
    assert one(figures, "accuracy").estimate == 0.75
    assert one(figures, "accuracy", "天河").estimate == 1
    assert one(figures, "accuracy", "香江").estimate == 0.5
    assert one(figures, "accuracy", "香江").rows == 100
    assert one(figures, "accuracy", "電話").estimate == 0.75


def test_every_score_is_there_for_every_value_with_its_interval_around_it(table: Any, answers: Any) -> None:
    rows = table(60)
    figures = measure(TASK, rows.targets, answers(rows, wrong=lambda number: number % 7 == 0), rows)
    assert len(figures) == len(TASK.scores) * (1 + 2 + 1)
    for figure in figures:
        assert figure.low is not None and figure.high is not None and figure.estimate is not None
        assert figure.low <= figure.estimate <= figure.high


def test_macro_f1_of_a_slice_is_over_the_classes_of_the_slice(table: Any, answers: Any) -> None:
    rows = table(80, regions=("天河", "越秀"))
    said = answers(rows, wrong=lambda number: number % 5 == 0)
    figure = one(measure(TASK, rows.targets, said, rows), "macro_f1", "天河")
    pairs = [(t.label, a.target.label) for n, (t, a) in enumerate(zip(rows.targets, said, strict=True)) if n % 2 == 0]
    assert figure.estimate == pytest.approx(f1_score(*zip(*pairs, strict=True), average="macro"))


def test_rows_of_few_callers_say_less(table: Any, answers: Any) -> None:
    def width(callers: int | None) -> float:
        rows = table(200, callers=callers)
        figure = one(
            measure(TASK, rows.targets, answers(rows, wrong=lambda number: number % 20 == 1), rows), "accuracy"
        )
        assert figure.clusters == (callers or 200)
        return float(figure.high or 0) - float(figure.low or 0)

    assert width(20) > 1.5 * width(None)


def test_the_same_seed_measures_the_same(table: Any, answers: Any) -> None:
    rows = table(50)
    said = answers(rows, wrong=lambda number: number % 3 == 0)
    assert measure(TASK, rows.targets, said, rows, seed=1) == measure(TASK, rows.targets, said, rows, seed=1)


def test_a_slice_that_only_a_bar_names_is_measured_too() -> None:
    task = replace(TASK, bars={"demo": (Bar("accuracy", at_least=0.5, slice="dialect"),)})
    assert slice_columns(task) == ["region", "channel", "dialect"]


@pytest.fixture(scope="module")
def calls(table: Any) -> Any:
    """60 recordings of one, three and twenty seconds in turn, each with ten characters of speech."""
    rows = table(60)
    heard = [CallAudio(audio=tone(seconds)) for seconds in (1.0, 3.0, 20.0)]
    return replace(
        rows,
        inputs=[heard[number % 3] for number in range(60)],
        targets=[Transcript(text="路燈壞了很久沒有人修") for _ in range(60)],
        provenance={**rows.provenance, "dialect": ["cmn", "yue-hongkong"] * 30},
    )


def heard(calls: Any, wrong: int = -1) -> list[Answer]:
    """What was said, but for two characters of ten in every third recording, counted from `wrong`."""
    texts = ["路燈壞了很久沒有" if number % 3 == wrong else "路灯坏了很久没有人修" for number in range(len(calls))]
    return [Answer(target=Transcript(text=text), confidence=0.9) for text in texts]


def test_transcripts_are_broken_down_by_the_length_that_the_recording_itself_tells(calls: Any) -> None:
    figures = measure(TRANSCRIPTION, calls.targets, heard(calls, wrong=2), calls)
    assert {f.value: f.estimate for f in figures if f.score == "cer" and f.slice == "length"} == {
        "0–2 s": 0,
        "2–5 s": 0,
        "over 15 s": pytest.approx(0.2),
    }
    assert one(figures, "cer", "cmn").rows == 30
    assert slice_values(TRANSCRIPTION, "length", calls)[:3] == ["0–2 s", "2–5 s", "over 15 s"]


def test_a_bar_over_a_length_refuses_what_the_average_would_pass(calls: Any) -> None:
    bars = {"demo": (Bar("cer", at_most=0.15), Bar("cer", at_most=0.17, slice="length"))}
    task = replace(TRANSCRIPTION, bars=bars)
    figures = measure(task, calls.targets, heard(calls, wrong=2), calls)
    found = decide(task, "demo", figures, (), "first model", {"length": ["0–2 s", "5–15 s"]})
    judged = {finding.figure.value: finding.outcome for finding in found if finding.figure is not None}
    assert judged[None] == judged["0–2 s"] == "passed"
    assert judged["5–15 s"] == "insufficient evidence", "recordings of that length are in the corpus, none in the test"
    assert outcome(found) != "passed"


def test_a_score_without_a_row_that_it_applies_to_is_undefined_and_passes_nothing(calls: Any) -> None:
    task = replace(TRANSCRIPTION, bars={"demo": (Bar("entity_cer", at_most=0.9),)})
    figures = measure(task, calls.targets, heard(calls), calls)
    assert one(figures, "entity_cer").estimate is None
    assert outcome(decide(task, "demo", figures, (), "first model")) == "failed"


def test_no_error_at_all_is_as_sure_as_the_callers_are_many(calls: Any) -> None:
    figure = one(measure(TRANSCRIPTION, calls.targets, heard(calls), calls), "cer")
    assert (figure.estimate, figure.low) == (0, 0)
    assert figure.high == pytest.approx(0.06, abs=0.005)
    same = one(differences(TRANSCRIPTION, calls.targets, heard(calls), heard(calls), calls, only=["cer"]), "cer")
    assert same.estimate == 0 and same.high == pytest.approx(-(same.low or 0)) == pytest.approx(1.96 / 62, abs=1e-4)


def test_the_pace_is_known_where_there_is_sound(table: Any) -> None:
    assert files.Pace(compute_seconds=3, audio_seconds=60).figures == {"rtf": 0.05}
    assert files.Pace(compute_seconds=3).figures == {}


def test_differences_are_candidate_minus_champion_per_slice(table: Any, answers: Any) -> None:
    rows = table(200, regions=("天河", "香江"))
    champion = answers(rows)
    candidate = answers(rows, wrong=lambda number: number % 4 == 1)
    found = differences(TASK, rows.targets, champion, candidate, rows, only=["accuracy"])
    assert {figure.score for figure in found} == {"accuracy"}
    assert one(found, "accuracy").estimate == -0.25
    assert one(found, "accuracy", "天河").estimate == 0
    weak = one(found, "accuracy", "香江")
    assert weak.estimate == -0.5 and weak.high is not None and weak.high < -0.3


def test_fewer_answers_than_rows_are_not_measured(table: Any, answers: Any) -> None:
    rows = table(10)
    with pytest.raises(ValueError, match="9 answers and 10 rows"):
        measure(TASK, rows.targets, answers(rows)[:9], rows)
    with pytest.raises(ValueError, match="0 rows"):
        measure(TASK, [], [], table(0))


def test_figures_are_flat_for_dvc(table: Any, answers: Any) -> None:
    rows = table(40)
    names = flat(measure(TASK, rows.targets, answers(rows), rows))
    assert {"macro_f1", "macro_f1_low", "macro_f1_high", "accuracy/region/天河"} <= set(names)
    undefined = Figure(score="x", rows=1, clusters=1, estimate=None, low=None, high=None)
    assert flat([undefined]) == {}


def test_answers_come_back_from_their_file_as_they_were_given(table: Any, answers: Any, tmp_path: Path) -> None:
    rows = table(20)
    alternatives = ((Category(label="環保"), 0.1), (Category(label="民政"), 0.05))
    said = [answer.model_copy(update={"alternatives": alternatives}) for answer in answers(rows)]
    path = tmp_path / "a" / "answers.parquet"
    files.save(path, rows.ids, {"candidate": said, "champion": answers(rows)})
    found = files.read(path, TASK, rows.ids, ["candidate", "champion"])
    assert found == {"candidate": said, "champion": answers(rows)}
    files.save(tmp_path / "again.parquet", rows.ids, {"candidate": said, "champion": answers(rows)})
    assert of_file(path) == of_file(tmp_path / "again.parquet")


@pytest.mark.parametrize("lost", ["candidate", "champion"])
def test_an_incomplete_file_of_answers_is_refused_with_the_row_that_is_missing(
    lost: str, table: Any, answers: Any, tmp_path: Path
) -> None:
    rows = table(20)
    said: dict[str, list[Answer]] = {name: answers(rows) for name in ("candidate", "champion")}
    said[lost] = said[lost][:-1]
    files.save(tmp_path / "answers.parquet", rows.ids, said)
    with pytest.raises(RefusedError, match=f"{lost} did not answer every test row") as refused:
        files.read(tmp_path / "answers.parquet", TASK, rows.ids, ["candidate", "champion"])
    assert refused.value.found == "19 answers, none for row-19"
    del said[lost]
    files.save(tmp_path / "answers.parquet", rows.ids, said)
    with pytest.raises(RefusedError, match=lost):
        files.read(tmp_path / "answers.parquet", TASK, rows.ids, ["candidate", "champion"])


def test_answers_to_rows_that_nobody_asked_are_refused(table: Any, answers: Any, tmp_path: Path) -> None:
    rows = table(20)
    files.save(tmp_path / "answers.parquet", rows.ids, {"candidate": answers(rows)})
    with pytest.raises(RefusedError, match="20 answers"):
        files.read(tmp_path / "answers.parquet", TASK, rows.ids[:10], ["candidate"])


def test_disjoint_rows_leak_nothing(table: Any) -> None:
    assert leaks(table(50), table(50, first=50)) == {}


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("row", lambda rows: rows.ids.__setitem__(3, "row-60")),
        ("call", lambda rows: rows.provenance["call_id"].__setitem__(3, "call-60")),
        ("caller", lambda rows: rows.provenance["caller_id"].__setitem__(3, "caller-60")),
        ("near-duplicate cluster", lambda rows: rows.clusters.__setitem__(3, "cluster-60")),
        ("input", lambda rows: rows.inputs.__setitem__(3, rows.inputs[3].model_copy(update={"text": "路燈壞了 60"}))),
    ],
)
def test_whatever_both_sides_share_is_named_with_the_test_row(name: str, spoil: Any, table: Any) -> None:
    trained = table(50)
    spoil(trained)
    assert leaks(trained, table(50, first=50)) == {name: ["row-60"]}
