"""CTC decoding against brute force: every path of small matrices is written out."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline.families import ctc
from hotline.families.ctc import LogProbabilities, Piece


def scores(frames: int, symbols: int, seed: int) -> LogProbabilities:
    """Random log-probabilities (L, V)."""
    logits = np.random.default_rng(seed).normal(size=(frames, symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def peaked(path: list[int], symbols: int) -> LogProbabilities:
    """Log-probabilities (L, V) with 0.98 on the path."""
    scores_LV = np.full((len(path), symbols), np.log(0.02 / (symbols - 1)), dtype=np.float32)
    scores_LV[np.arange(len(path)), path] = np.log(0.98)
    return scores_LV


def read(path: tuple[int, ...], blank: int) -> tuple[int, ...]:
    """What a path of symbols reads: repeats merged, blanks dropped."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def every_reading(scores_LV: LogProbabilities, blank: int) -> dict[tuple[int, ...], float]:
    """Probability of every symbol sequence: the sum over its paths."""
    frames, symbols = scores_LV.shape
    total: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(symbols), repeat=frames):
        total[read(path, blank)] += float(np.exp(sum(scores_LV[frame, symbol] for frame, symbol in enumerate(path))))
    return dict(total)


def best_path(scores_LV: LogProbabilities, reading: tuple[int, ...], blank: int) -> float:
    """Log-probability of the likeliest path that reads so."""
    frames, symbols = scores_LV.shape
    return max(
        sum(float(scores_LV[frame, symbol]) for frame, symbol in enumerate(path))
        for path in itertools.product(range(symbols), repeat=frames)
        if read(path, blank) == reading
    )


small = st.tuples(st.integers(1, 5), st.integers(2, 4), st.integers(0, 10_000))


@settings(max_examples=60, deadline=None)
@given(small, st.booleans())
def test_a_wide_prefix_beam_finds_every_reading_with_its_exact_probability(
    size: tuple[int, int, int], blank_is_last: bool
) -> None:
    scores_LV = scores(*size)
    blank = size[1] - 1 if blank_is_last else 0
    truth = every_reading(scores_LV, blank)
    found = ctc.beam(scores_LV, beams=len(truth) + 1, blank=blank)
    assert {reading for reading, _ in found} == set(truth)
    assert [np.exp(share) for _, share in found] == pytest.approx(sorted(truth.values(), reverse=True), rel=1e-4)
    assert sum(np.exp(share) for _, share in found) == pytest.approx(1, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(small)
def test_the_wider_beam_is_never_worse(size: tuple[int, int, int]) -> None:
    best = [ctc.beam(scores(*size), beams)[0][1] for beams in (1, 2, 4, 64)]
    assert best[-1] >= max(best) - 1e-6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_on_peaked_scores_greedy_is_the_best_of_the_beam(path: list[int]) -> None:
    scores_LV = peaked(path, 10)
    greedy = tuple(piece.symbol for piece in ctc.greedy(scores_LV))
    assert ctc.beam(scores_LV, beams=8)[0][0] == greedy


def test_the_beam_adds_up_paths_where_greedy_sees_only_one() -> None:
    scores_LV = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], dtype=np.float32))  # blank blank 0.36, reading «1» 0.64
    assert ctc.greedy(scores_LV) == []
    [(reading, share), *_] = ctc.beam(scores_LV, beams=2)
    assert (reading, np.exp(share)) == ((1,), pytest.approx(0.64))


@settings(max_examples=60, deadline=None)
@given(small)
def test_the_alignment_of_a_reading_is_its_likeliest_path(size: tuple[int, int, int]) -> None:
    scores_LV = scores(*size)
    for reading in every_reading(scores_LV, ctc.BLANK):
        pieces = ctc.align(scores_LV, reading)
        assert tuple(piece.symbol for piece in pieces) == reading
        assert path_score(scores_LV, pieces) == pytest.approx(best_path(scores_LV, reading, ctc.BLANK), abs=1e-4)


def path_score(scores_LV: LogProbabilities, pieces: list[Piece]) -> float:
    """Log-probability of the path that the pieces describe; blanks between them."""
    path = np.zeros(len(scores_LV), dtype=int)
    for piece in pieces:
        path[piece.start : piece.end] = piece.symbol
    return float(scores_LV[np.arange(len(path)), path].sum())


def test_times_are_the_frames_in_which_a_symbol_was_heard() -> None:
    scores_LV = peaked([0, 2, 2, 0, 0, 1, 0, 1, 1, 0], 3)
    expected = [Piece(2, 1, 3, 0.98), Piece(1, 5, 6, 0.98), Piece(1, 7, 9, 0.98)]
    for pieces in (ctc.greedy(scores_LV), ctc.align(scores_LV, [2, 1, 1])):
        assert [(p.symbol, p.start, p.end) for p in pieces] == [(p.symbol, p.start, p.end) for p in expected]
        assert [p.probability for p in pieces] == pytest.approx([0.98] * 3)


@pytest.mark.parametrize("symbols", [[], [1, 2, 1, 2], [1, 1, 1]])
def test_symbols_that_do_not_fit_into_the_frames_are_not_aligned(symbols: list[int]) -> None:
    assert ctc.align(scores(3, 3, 0), symbols) == []


def test_no_frames_read_as_nothing() -> None:
    empty = np.zeros((0, 4), dtype=np.float32)
    assert ctc.greedy(empty) == []
    assert ctc.beam(empty, beams=3) == [((), 0.0)]
    assert ctc.align(empty, [1]) == []
