"""Whether a fresh encoder hears at all: one that does not trains without any error, and learns a language model only.

Legend: B clips, L outputs, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hotline.errors import HotlineError
from hotline.families.recognisers import Recogniser

MINIMUM_SENSITIVITY = 1e-2


def refuse_deaf(recogniser: Recogniser) -> None:
    """Raises HotlineError when the encoder gives nearly the same for any sound: it could learn nothing."""
    found = sensitivity(recogniser)
    if found < MINIMUM_SENSITIVITY:
        raise HotlineError(
            "the fresh encoder does not react to what it hears; training it would learn a language model only",
            where="model",
            found=f"a difference of {found:.1e} between a noise and a tone",
            expected=f"at least {MINIMUM_SENSITIVITY:g}",
            next="change the model's sizes, or start from a pretrained base",
        )


def sensitivity(recogniser: Any) -> float:
    """How far apart a noise and a rising tone are to the encoder: the smaller of two figures.

    One is the difference of its hidden states, relative to their size. The other, where the encoder shows its stem, is
    the difference after it, root mean square: blocks normalise their input and take what is far below 1 for nothing.
    """
    rate = recogniser.sample_rate_hz
    second = np.arange(rate) / rate
    noise = np.random.default_rng(0).normal(0, 0.1, rate)
    rising = 0.2 * np.sin(2 * np.pi * (200 * second + 1500 * second**2))
    training = recogniser.training
    recogniser.eval()
    with torch.inference_mode():
        batch = recogniser.features([noise.astype(np.float32), rising.astype(np.float32)], None, None)
        hidden_BLD, mask_BL, _ = recogniser.encode(batch)
        stem_BLD = recogniser.stem(batch) if hasattr(recogniser, "stem") else None
    recogniser.train(training)
    outputs = int(mask_BL[0].sum())  # of both: they are equally long
    first, other = hidden_BLD[:, :outputs]
    figures = [(first - other).norm() / (first.norm() + other.norm()).clamp_min(1e-9)]
    if stem_BLD is not None:
        figures.append((stem_BLD[0, :outputs] - stem_BLD[1, :outputs]).square().mean().sqrt())
    return float(min(figures))
