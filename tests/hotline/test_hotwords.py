"""Hotwords: heard where the sound bears them, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline.families import ctc, hotwords
from hotline.families.ctc import LogProbabilities
from hotline.families.hotwords import Hotwords


def scores(frames: int, symbols: int, seed: int) -> LogProbabilities:
    logits = 2 * np.random.default_rng(seed).normal(size=(frames, symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def doubtful(best: list[int], second: list[int], share: float) -> LogProbabilities:
    """Frames that say `best`, and by `share` something else."""
    scores_LV = np.full((len(best), 8), 1e-4, np.float32)
    scores_LV[np.arange(len(best)), second] = share
    scores_LV[np.arange(len(best)), best] = 1 - share
    return np.log(scores_LV)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10_000), st.lists(st.lists(st.integers(1, 4), max_size=3), max_size=3))
def test_a_bonus_of_nothing_changes_nothing(frames: int, seed: int, words: list[list[int]]) -> None:
    scores_LV = scores(frames, 5, seed)
    [(plain, share), *_] = ctc.beam(scores_LV, 64)
    [(told, told_share), *_] = hotwords.beam(scores_LV, 64, Hotwords(words, bonus=0))
    assert (told, round(told_share, 4)) == (plain, round(share, 4))


def test_a_word_that_the_sound_nearly_says_is_heard() -> None:
    scores_LV = doubtful([1, 0, 2, 0, 3], [1, 0, 4, 0, 3], share=0.3)
    assert ctc.beam(scores_LV, 8)[0][0] == (1, 2, 3)
    assert hotwords.beam(scores_LV, 8, Hotwords([[4, 3]]))[0][0] == (1, 4, 3)


def test_half_a_word_earns_nothing() -> None:
    scores_LV = doubtful([1, 0, 2, 0, 3], [1, 0, 4, 0, 3], share=0.3)
    assert hotwords.beam(scores_LV, 8, Hotwords([[4, 5]]))[0][0] == (1, 2, 3)
    assert hotwords.beam(scores_LV, 8, Hotwords([[1, 4, 3, 6]]))[0][0] == (1, 2, 3)


def test_a_word_that_the_sound_does_not_bear_is_not_written() -> None:
    scores_LV = doubtful([1, 0, 2, 0, 3], [1, 0, 2, 0, 3], share=0.0)
    assert hotwords.beam(scores_LV, 8, Hotwords([[5], [6, 7], [4, 3]]))[0][0] == (1, 2, 3)


def test_the_probability_is_the_sounds_alone() -> None:
    scores_LV = doubtful([1], [4], share=0.3)
    [(symbols, score), *_] = hotwords.beam(scores_LV, 8, Hotwords([[4]]))
    assert symbols == (4,)
    assert math.isclose(score, math.log(0.3), abs_tol=0.01)
