"""Slices share strength: what a small slice's figure becomes when the others are counted in.

It is shown beside a slice's own figure and decides nothing. It would favour the average: a dialect that really is worse
looks better than it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.statistics import Z
from hotline.records import Figure


def shrink(estimates: npt.ArrayLike, standard_errors: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
    """Empirical-Bayes estimates, drawn to the common mean as far as error outweighs spread; and that spread.

    The spread of the true figures, a standard deviation, is DerSimonian and Laird's (1986); the estimates are those of
    Morris (1983) for a normal model. Raises ValueError unless there are as many errors, all above 0.
    """
    given, variances = np.asarray(estimates, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64) ** 2
    if given.shape != variances.shape or given.ndim != 1 or not (variances > 0).all():
        raise ValueError(f"{given.shape} estimates need as many standard errors above 0, found {variances.shape}")
    precise = 1 / variances
    middle = (precise * given).sum() / precise.sum()
    excess = (precise * (given - middle) ** 2).sum() - (len(given) - 1)
    scale = precise.sum() - (precise**2).sum() / precise.sum()
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    weights = 1 / (variances + between)
    common = (weights * given).sum() / weights.sum()
    kept = between / (variances + between)
    return common + kept * (given - common), float(np.sqrt(between))


def standard_error(figure: Figure) -> float | None:
    """What the figure's 95 % interval says it is; None without an interval of some width."""
    if figure.estimate is None or figure.low is None or figure.high is None or figure.high <= figure.low:
        return None
    return (figure.high - figure.low) / (2 * Z)


def shared(figures: Sequence[Figure]) -> dict[str | None, float]:
    """For the values of one slice: what each figure becomes with the others counted in; empty for fewer than three."""
    known = [(figure.value, figure.estimate, standard_error(figure)) for figure in figures]
    sure = [(value, estimate, error) for value, estimate, error in known if estimate is not None and error]
    if len(sure) < 3:
        return {}
    drawn, _ = shrink([estimate for _, estimate, _ in sure], [error for _, _, error in sure])
    return {value: float(estimate) for (value, _, _), estimate in zip(sure, drawn, strict=True)}
