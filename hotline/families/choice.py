"""A classifier's probabilities over the options of a caller: leaves of the label tree, or whole branches.

Legend: L leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hotline.labels import LabelTree
from hotline.task import Answer, Task


def among(task: Task, tree: LabelTree, scores_L: Tensor, options: Sequence[str]) -> Answer:
    """The best option and the others, each with the probability of its leaves; they need not sum to 1.

    `scores_L` are calibrated log-probabilities.
    """
    shares = [float(scores_L[tree.branches[option]].exp().sum()) for option in options]
    ranked = sorted(zip(options, shares, strict=True), key=lambda pair: -pair[1])
    made = [(task.target.model_validate({str(task.label_field): name}), min(1.0, share)) for name, share in ranked]
    return Answer(target=made[0][0], confidence=made[0][1], alternatives=tuple(made[1:]))
