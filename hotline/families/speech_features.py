"""From sound to log-mel features, and the augmentation of both.

Legend: B clips, T samples, F frames of 10 ms, M mels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hotline.audio import Audio
from hotline.families.transcriber_options import Augmentation, Normalise

FRAME_SECONDS = 0.010
WINDOW_SECONDS = 0.025
FRAME_STEP = 32
"""Batches are padded to a multiple of this many frames."""
_FLOOR = 1e-6
RANGE = 8.0
"""Nats (35 dB) below a clip's loudest place, where `level` stops to look: what is softer is the line."""
Wave = npt.NDArray[np.float32]


def wave(audio: Audio, sample_rate_hz: int) -> Wave:
    """The samples in [−1, 1) at that rate, (T,)."""
    return audio.at(sample_rate_hz).samples.astype(np.float32) / 32768.0


def perturbed(wave_T: Wave, sample_rate_hz: int, options: Augmentation, draw: np.random.Generator) -> Wave:
    """The clip faster or slower, and perhaps through a telephone."""
    factor = float(draw.choice(options.speed)) if options.speed else 1.0
    if factor != 1.0:
        import soxr

        wave_T = soxr.resample(wave_T, sample_rate_hz * factor, sample_rate_hz, quality="LQ")
    if options.telephone and draw.random() < options.telephone:
        wave_T = wave(_on_the_phone(wave_T, sample_rate_hz, draw), sample_rate_hz)
    return wave_T


def _on_the_phone(wave_T: Wave, sample_rate_hz: int, draw: np.random.Generator) -> Audio:
    from hotline import telephone

    samples_T = np.clip(wave_T * 32768.0, -32768, 32767).astype(np.int16)
    channel = "mobile" if draw.random() < 0.5 else "landline"
    return telephone.call(Audio(samples_T, sample_rate_hz), channel, "ALAW" if draw.random() < 0.5 else "ULAW", draw)


class LogMel:
    """Log-mel energies of a batch: each clip with mean 0 and deviation 1 per band, or from −2 to 2 by its level."""

    def __init__(self, sample_rate_hz: int, mel_bins: int, normalise: Normalise = "bands") -> None:
        self.sample_rate_hz, self.mel_bins = sample_rate_hz, mel_bins
        self.normalised = _normalised if normalise == "bands" else _levelled
        self.hop = int(FRAME_SECONDS * sample_rate_hz)

    def __call__(
        self,
        waves: Sequence[Wave],
        options: Augmentation | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> dict[str, Tensor]:
        """features_BFM and mask_BF (1 for frames of the clip, 0 for padding); with `draws`, masked by SpecAugment."""
        lengths_B = torch.tensor([max(1, -(-len(each) // self.hop)) for each in waves])
        frames = -(-int(lengths_B.max()) // FRAME_STEP) * FRAME_STEP  # few different shapes: few kernels are kept
        padded_BT = torch.zeros(len(waves), frames * self.hop)
        for row, each in zip(padded_BT, waves, strict=True):
            row[: len(each)] = torch.from_numpy(np.ascontiguousarray(each))
        window, filters_KM = _filters(self.sample_rate_hz, self.mel_bins)
        # Silence on both sides: a mirrored end would be another one beside a longer clip.
        spectrum = torch.stft(
            padded_BT,
            n_fft=filters_KM.shape[0] * 2 - 2,
            hop_length=self.hop,
            win_length=len(window),
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        power_BFK = spectrum[..., : padded_BT.shape[1] // self.hop].abs().square().transpose(1, 2)
        features_BFM = (power_BFK @ filters_KM).clamp_min(_FLOOR).log()
        mask_BF = torch.arange(features_BFM.shape[1]) < lengths_B[:, None]
        features_BFM = self.normalised(features_BFM, mask_BF)
        if draws is not None and options is not None:
            for row, length, draw in zip(features_BFM, lengths_B.tolist(), draws, strict=True):
                mask(row[:length], options, draw)
        return {"features_BFM": features_BFM, "mask_BF": mask_BF.long()}


@cache
def _filters(sample_rate_hz: int, mel_bins: int) -> tuple[Tensor, Tensor]:
    """The window and the mel filter bank (frequency bins, mels)."""
    from transformers.audio_utils import mel_filter_bank

    window = int(WINDOW_SECONDS * sample_rate_hz)
    size = 1 << (window - 1).bit_length()
    bank: Any = mel_filter_bank(
        num_frequency_bins=size // 2 + 1,
        num_mel_filters=mel_bins,
        min_frequency=60.0,
        max_frequency=sample_rate_hz / 2,
        sampling_rate=sample_rate_hz,
        norm="slaney",
        mel_scale="htk",
    )
    return torch.hann_window(window), torch.tensor(bank, dtype=torch.float32)


def _normalised(features_BFM: Tensor, mask_BF: Tensor) -> Tensor:
    """Mean 0, deviation 1 over the clip's own frames in every band; padding becomes 0."""
    weight_BF1 = mask_BF.unsqueeze(-1).to(features_BFM.dtype)
    count_B11 = weight_BF1.sum(1, keepdim=True)
    mean = (features_BFM * weight_BF1).sum(1, keepdim=True) / count_B11
    centred = (features_BFM - mean) * weight_BF1
    deviation = (centred.square().sum(1, keepdim=True) / count_B11).sqrt()
    return centred / (deviation + 1e-3)


def _levelled(features_BFM: Tensor, mask_BF: Tensor) -> Tensor:
    """2 at the clip's loudest place, −2 where it is RANGE softer or more; padding becomes 0."""
    own_BF1 = mask_BF.unsqueeze(-1)
    loudest_B11 = features_BFM.masked_fill(~own_BF1, -torch.inf).amax((1, 2), keepdim=True)
    return ((features_BFM - loudest_B11).clamp_min(-RANGE) * (4 / RANGE) + 2) * own_BF1


def mask(features_FM: Tensor, options: Augmentation, draw: np.random.Generator) -> None:
    """SpecAugment in place: whole bands and stretches of time become the mean."""
    frames, bands = features_FM.shape
    for _ in range(options.mask_bands):
        width = int(draw.integers(0, bands // 5 + 1))
        start = int(draw.integers(0, bands - width + 1))
        features_FM[:, start : start + width] = 0.0
    for _ in range(options.mask_times):
        width = int(draw.integers(0, frames // 20 + 1))
        start = int(draw.integers(0, frames - width + 1))
        features_FM[start : start + width] = 0.0
