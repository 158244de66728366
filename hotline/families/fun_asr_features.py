"""What Fun-ASR-Nano hears, without torchaudio: the Kaldi filter bank of its feature extractor, by transformers itself.

Legend: T samples, F frames of 10 ms, M mels.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, FunAsrNanoProcessor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

PREEMPHASIS, LOWEST_HZ, FLOOR = 0.97, 20.0, float(np.finfo(np.float32).eps)
"""As `torchaudio.compliance.kaldi.fbank` has them by default."""
# Its package hides the module where torchaudio is missing.
_original: Any = import_module("transformers.models.fun_asr_nano.feature_extraction_fun_asr_nano")


class FunAsrNanoFeatureExtractor(_original.FunAsrNanoFeatureExtractor):  # type: ignore[misc]
    """The base's own, and saved under its name; it alone needs torchaudio, of which there is no build for CPUs."""

    def _extract_fbank_features(self, waveform: Tensor) -> Tensor:
        """Log-mel energies (F, M)."""
        length = self.sampling_rate * self.frame_length // 1000
        size = 1 << (length - 1).bit_length()
        filters: Any = mel_filter_bank(
            num_frequency_bins=size // 2 + 1,
            num_mel_filters=self.feature_size,
            min_frequency=LOWEST_HZ,
            max_frequency=self.sampling_rate / 2,
            sampling_rate=self.sampling_rate,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        energies_MF: Any = spectrogram(
            waveform.numpy(),
            window_function(length, self.window, periodic=False),
            frame_length=length,
            hop_length=self.sampling_rate * self.frame_shift // 1000,
            fft_length=size,
            power=2.0,
            center=False,
            preemphasis=PREEMPHASIS,
            mel_filters=filters,
            mel_floor=FLOOR,
            log_mel="log",
            remove_dc_offset=True,
        )
        return torch.from_numpy(energies_MF.T.astype(np.float32))


def processor(folder: Path) -> Any:
    """The base's processor around that feature extractor."""
    described, _ = FunAsrNanoProcessor.get_processor_dict(folder)
    parts = [FunAsrNanoFeatureExtractor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)]
    return FunAsrNanoProcessor.from_args_and_dict(parts, described)
