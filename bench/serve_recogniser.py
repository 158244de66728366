"""Part (a) of bench/serve.py with a recogniser like those in use: an encoder, a language model, random weights."""

from __future__ import annotations

import runpy
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
CHECKPOINTS = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "random_audio_language_models.py"))
RATE_HZ = 8000
SHORTEST_SECONDS, LONGEST_SECONDS = 1.5, 5.0
CHARACTERS = "".join(map(chr, range(0x4E00, 0xA000)))
AUDIO = {
    "d_model": 448,
    "encoder_layers": 9,
    "encoder_attention_heads": 7,
    "encoder_ffn_dim": 1792,
    "downsample_hidden_size": 240,
    "num_mel_bins": 128,
    "output_dim": 512,
}
LANGUAGE = {
    "hidden_size": 512,
    "num_hidden_layers": 14,
    "intermediate_size": 1536,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
}
"""Half of Qwen3-ASR 0.6B's widths and depths."""
VOCABULARY = 32768
"""Tokens; in the language model about the share of the weights that Qwen's vocabulary has."""
PROMPT_WORDS = "system user assistant " * 9
"""One token each, as in Qwen's own vocabulary."""
WRITTEN = 24
"""Characters of an answer at most; a random model seldom ends by itself, so every answer is a short sentence."""
PORT = 8394


@dataclass(frozen=True)
class Plan:
    """What is sent."""

    clips: int
    concurrency: int
    repeats: int
    options: Options


def model(folder: Path) -> Any:
    """A recogniser that has learnt nothing: how long it takes depends on the length of what it hears alone."""
    CHECKPOINTS["qwen3_asr"](folder, [CHARACTERS, PROMPT_WORDS], VOCABULARY, AUDIO, LANGUAGE)
    options = {"architecture": "pretrained", "base": str(folder), "max_characters": WRITTEN}
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
    serving_site.promote(here, model(place / "base"), "speech", TASK)
    live = start(here, PORT, plan.options)
    try:
        heard = serve_speech.heard(live.url, here, inputs, plan)
    finally:
        live.stop()
        shutil.rmtree(place)
    single, together, bare = (one.seconds for one in heard.values())
    return heard, {"asr_batching": single / together, "asr_of_bare": bare / together}
