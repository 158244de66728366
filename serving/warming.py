"""What a replica answers before anybody asks, so that no caller pays for first-time costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hotline import voice_activity
from hotline.audio import Audio
from hotline.task import Input, Task

if TYPE_CHECKING:
    from serving.replica import Options


def batches(task: Task, options: Options) -> list[list[Input]]:
    """The task's examples alone, as full batches, and as long as stretches of sound get."""
    examples = [task.input.model_validate(example) for example in task.examples]
    longest = max(1, int(options.batch_seconds / voice_activity.LONGEST_SECONDS))
    lengthened = [long for example in examples for long in _lengthened(example, task)]
    return [
        rows for rows in (examples, (examples * options.batch_rows)[: options.batch_rows], lengthened * longest) if rows
    ]


def _lengthened(example: Input, task: Task) -> list[Input]:
    """An example that is a recording, as long as stretches get; nothing for other examples."""
    if not task.audio_field:
        return []
    sound: Audio = getattr(example, task.audio_field)
    samples = np.resize(sound.samples, int(voice_activity.LONGEST_SECONDS * sound.sample_rate_hz))
    return [example.model_copy(update={task.audio_field: Audio(samples, sound.sample_rate_hz)})]
