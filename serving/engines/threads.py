"""The one thread of a process in which a model is loaded and answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial


def one(threads: int) -> ThreadPoolExecutor:
    """A thread that computes with so many of OpenMP's.

    Every thread that computes has a team of its own, and where two teams outnumber the cores both sleep between steps.
    """
    return ThreadPoolExecutor(1, "model", partial(_compute_with, threads))


def _compute_with(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
