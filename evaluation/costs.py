"""What each answer costs on this machine: seconds and memory, measured beside the answer and kept with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from hotline import families
from hotline.costs import Cost
from hotline.families import Family
from hotline.task import Answer, Input, Task

GIB = 1 << 30


def answer_each(family: Family, model: Any, task: Task, inputs: Sequence[Input]) -> list[Answer]:
    """The answers in order, one row at a time as a caller would ask, each with its cost.

    Raises pydantic's ValidationError as `families.answer` does.
    """
    return [_measured(family, model, task, each) for each in inputs]


def _measured(family: Family, model: Any, task: Task, asked: Input) -> Answer:
    import psutil

    began = time.perf_counter()
    (answer,) = families.answer(family, model, [asked], 1)
    cost = Cost(
        seconds=time.perf_counter() - began,
        audio_seconds=getattr(asked, task.audio_field).seconds if task.audio_field else 0.0,
        memory_gib=psutil.Process().memory_info().rss / GIB,
        gpu_memory_gib=_gpu_memory() / GIB,
    )
    return answer.model_copy(update={"cost": cost})


def _gpu_memory() -> int:
    """The most bytes that this process had on the GPU at once; 0 when it used none."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated()) if torch is not None and torch.cuda.is_initialized() else 0
