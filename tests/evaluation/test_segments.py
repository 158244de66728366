"""Segments end where both systems are right twice, hold every error once, and do not depend on who comes first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.segments import Alignment, align, paired_errors, segment_errors
from hotline.task import Answer
from hotline.tasks.speech.transcription import Transcript

few = settings(max_examples=60, deadline=None)
texts = st.text(st.sampled_from("abc"), max_size=12)


def segments(a: str, b: str, bound: int = 2) -> list[tuple[int, int]]:
    return segment_errors(Alignment.of_marks(a), Alignment.of_marks(b), bound)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("CCCC", "CCCC", []),
        ("SCCC", "CCCC", [(1, 0)]),
        ("SCS", "CCC", [(2, 0)]),
        ("SCCS", "CCCC", [(1, 0), (1, 0)]),
        ("SCCS", "CCCD", [(1, 0), (1, 1)]),
        ("SCICS", "CCC" + "C", [(3, 0)]),
        ("CC", "CCII", [(0, 2)]),
        ("ICC", "CC", [(1, 0)]),
        ("II", "", [(2, 0)]),
        ("", "", []),
    ],
)
def test_errors_stand_in_one_segment_unless_both_are_right_twice_between(
    a: str, b: str, expected: list[tuple[int, int]]
) -> None:
    assert segments(a, b) == expected
    assert segments(b, a) == [(right, left) for left, right in expected]


def test_with_a_bound_of_one_every_unit_that_both_have_right_ends_a_segment() -> None:
    assert segments("SCS", "CCC", bound=1) == [(1, 0), (1, 0)]


@few
@given(texts, texts, texts)
def test_every_error_is_in_exactly_one_segment(reference: str, a: str, b: str) -> None:
    left, right = align(reference, a), align(reference, b)
    found = segment_errors(left, right)
    assert [sum(side) for side in zip(*found, strict=True)] == ([left.errors, right.errors] if found else [])
    assert all(x or y for x, y in found)
    if not found:
        assert reference == a == b


def test_alignments_with_other_references_and_other_marks_are_refused() -> None:
    with pytest.raises(ValueError, match="references of 1 and 2 units"):
        segments("C", "CC")
    with pytest.raises(ValueError, match="not marks of an alignment"):
        Alignment.of_marks("CX")


def test_errors_of_answers_are_counted_as_mer_counts_them() -> None:
    def answers(*said: str) -> list[Answer]:
        return [Answer(target=Transcript(text=text), confidence=1.0) for text in said]

    targets = [Transcript(text="天河區路燈壞了，please repair it"), Transcript(text="好")]
    a, b = paired_errors(
        targets, answers("天和区路灯坏了 please repair", "好"), answers("天河区路灯 please repair it", "好")
    )
    assert a.tolist() == [1, 0, 1] and b.tolist() == [0, 2, 0]
    assert paired_errors(targets, answers(*(t.text for t in targets)), answers("", "好"))[1].sum() == 10
