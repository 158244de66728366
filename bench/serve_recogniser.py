"""Part (a) of bench/serve.py with a recogniser as large as those in use: Whisper base's sizes, random weights."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import serve_speech
import serving_site
import torch
from serve_speech import Run

from hotline.audio import Audio
from hotline.families import transcriber
from hotline.families.transcriber_options import TranscriberOptions
from hotline.task import Input
from hotline.tasks import find
from serving.replica import Options
from serving.run import start

TASK = find("transcription")
RATE_HZ = 8000
SHORTEST_SECONDS, LONGEST_SECONDS = 1.5, 5.0
CHARACTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
SIZES = {"width": 512, "layers": 6, "heads": 8, "max_characters": 24}
"""Whisper base's; a random decoder seldom ends by itself, so every answer is as long as a short sentence."""
PORT = 8394


@dataclass(frozen=True)
class Plan:
    """What is sent."""

    clips: int
    concurrency: int
    repeats: int
    options: Options


def model() -> Any:
    """A recogniser that has learnt nothing: how long it takes depends on the length of what it hears alone."""
    options = {"architecture": "sequence", **SIZES, "longest_seconds": LONGEST_SECONDS, "sample_rate_hz": RATE_HZ}
    torch.manual_seed(0)
    target = TASK.target.model_validate({"text": CHARACTERS, "dialect": "mandarin"})
    return transcriber.create(TranscriberOptions.model_validate(options), TASK, None, clips(1), [target])


def clips(count: int) -> list[Input]:
    """Noise of the lengths of short sentences."""
    draw = np.random.default_rng(0)
    seconds = draw.uniform(SHORTEST_SECONDS, LONGEST_SECONDS, count)
    noise = (0.1 * draw.standard_normal(int(RATE_HZ * each)).astype(np.float32) for each in seconds)
    return [TASK.input.model_validate({"audio": Audio(each, RATE_HZ)}) for each in noise]


def run(plan: Plan) -> tuple[dict[str, Run], dict[str, float]]:
    """The median runs by name, and the figures."""
    torch.set_num_threads(plan.options.threads)
    place, inputs = Path(tempfile.mkdtemp(prefix="bench-recogniser-")), clips(plan.clips)
    here = serving_site.make(place / "site")
    serving_site.promote(here, model(), "speech", TASK)
    live = start(here, PORT, plan.options)
    try:
        heard = serve_speech.heard(live.url, here, inputs, plan)
    finally:
        live.stop()
        shutil.rmtree(place)
    single, together, bare = (one.seconds for one in heard.values())
    return heard, {"whisper_batching": single / together, "whisper_of_bare": bare / together}
