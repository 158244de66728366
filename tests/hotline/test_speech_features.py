"""Log-mel features, and augmentation that depends on the row alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hotline.audio import tone
from hotline.families import speech_features
from hotline.families.speech_features import LogMel, Wave
from hotline.families.transcriber_options import Augmentation

RATE = 8000
LOUD = Augmentation(mask_bands=3, mask_times=5)


def noise(samples: int, seed: int = 0) -> Wave:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def own(batch: dict[str, torch.Tensor], row: int = 0) -> torch.Tensor:
    """The clip's own frames (F, M), without the batch's padding."""
    return batch["features_BFM"][row][batch["mask_BF"][row].bool()]


def draws(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def test_the_features_of_a_fixed_sound_do_not_change() -> None:
    wave_T = speech_features.wave(tone(0.05, 440), RATE)
    ramp_T = wave_T * np.linspace(0, 1, len(wave_T), dtype=np.float32)
    features_FM = own(LogMel(RATE, 16)([ramp_T]))
    assert features_FM.shape == (5, 16)
    assert features_FM[:, 3].tolist() == pytest.approx(GOLDEN_BAND, abs=2e-3)
    assert features_FM[2, ::5].tolist() == pytest.approx(GOLDEN_FRAME, abs=2e-3)


GOLDEN_BAND = [-1.7902, -0.3068, 0.3422, 0.7369, 1.0179]
GOLDEN_FRAME = [-0.504, -0.634, 0.0, 0.0]


def test_a_tone_is_loudest_in_its_own_band() -> None:
    log_mel = LogMel(RATE, 32)
    window, filters_KM = speech_features._filters(RATE, 32)
    quiet_T = noise(RATE) * 1e-3
    together = np.concatenate([quiet_T, quiet_T + speech_features.wave(tone(1.0, 1500), RATE)])
    features_FM = own(log_mel([together]))
    rise_M = features_FM[110:].mean(0) - features_FM[:90].mean(0)
    centre_hz = filters_KM[:, int(rise_M.argmax())].argmax() * RATE / 2 / (len(filters_KM) - 1)
    assert float(centre_hz) == pytest.approx(1500, abs=150)
    assert len(window) == 0.025 * RATE


@pytest.mark.parametrize("samples", [4000, 4001, 4039, 4079, 81])
def test_a_clip_beside_a_longer_one_has_the_features_that_it_has_alone(samples: int) -> None:
    log_mel, clip = LogMel(RATE, 24), noise(samples)
    alone, beside = log_mel([clip]), log_mel([clip, noise(9000, 1)])
    frames = int(alone["mask_BF"].sum())
    assert frames == -(-samples // log_mel.hop) == int(beside["mask_BF"][0].sum())
    assert torch.allclose(own(alone), own(beside), atol=1e-4)
    assert not beside["features_BFM"][0, frames:].any()


def test_every_band_of_a_clip_has_mean_0_and_deviation_1_whatever_its_level() -> None:
    log_mel, clip = LogMel(RATE, 24), noise(8000)
    loud, quiet = (own(log_mel([level * clip])) for level in (1.0, 0.1))
    assert loud.mean(0).abs().max() < 1e-4
    assert (loud.std(0, unbiased=False) - 1).abs().max() < 1e-2
    assert torch.allclose(loud, quiet, atol=0.05)


def test_by_level_a_clip_keeps_the_shape_of_its_spectrum_whatever_its_gain() -> None:
    log_mel, clip = LogMel(RATE, 24, "level"), noise(8000)
    tilted = np.convolve(clip, [1.0, 0.9], mode="same").astype(np.float32)  # weak at the top
    loud, quiet = (own(log_mel([gain * tilted])) for gain in (1.0, 0.1))
    assert torch.allclose(loud, quiet, atol=1e-3)
    assert float(loud.max()) == pytest.approx(2.0, abs=1e-4)
    assert float(loud.min()) >= -2.0
    assert loud[:, 2:5].mean() - loud[:, -3:].mean() > 0.5
    silence = own(log_mel([np.zeros(400, np.float32)]))
    assert torch.isfinite(silence).all()


def test_by_level_a_clip_beside_a_longer_one_has_the_features_that_it_has_alone() -> None:
    log_mel, clip = LogMel(RATE, 24, "level"), noise(4000)
    assert torch.allclose(own(log_mel([clip])), own(log_mel([clip, noise(9000, 1)])), atol=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 79])
def test_a_clip_shorter_than_a_frame_is_one_frame(samples: int) -> None:
    batch = LogMel(RATE, 16)([noise(samples)])
    assert own(batch).shape == (1, 16)
    assert torch.isfinite(batch["features_BFM"]).all()


def test_without_draws_nothing_is_augmented() -> None:
    log_mel = LogMel(RATE, 24)
    assert torch.equal(log_mel([noise(8000)], LOUD)["features_BFM"], log_mel([noise(8000)])["features_BFM"])


def test_masks_depend_on_the_rows_draw_and_not_on_its_neighbours() -> None:
    log_mel = LogMel(RATE, 24)
    alone = own(log_mel([noise(8000)], LOUD, draws(7)))
    beside = own(log_mel([noise(12000, 1), noise(8000)], LOUD, draws(3, 7)), row=1)
    otherwise = own(log_mel([noise(8000)], LOUD, draws(8)))
    assert torch.allclose(alone, beside, atol=1e-4)
    assert not torch.equal(alone, otherwise)


def test_masks_stay_within_what_the_options_allow() -> None:
    log_mel = LogMel(RATE, 40)
    plain = own(log_mel([noise(16000)]))
    for seed in range(20):
        masked = own(log_mel([noise(16000)], LOUD, draws(seed)))
        hidden = masked != plain
        assert int(hidden.all(0).sum()) <= LOUD.mask_bands * 40 // 5
        assert int(hidden.all(1).sum()) <= LOUD.mask_times * 200 // 20
        assert not masked[hidden].any()


@pytest.mark.parametrize(("factor", "samples"), [(0.8, 10000), (1.0, 8000), (1.25, 6400)])
def test_speed_perturbation_changes_length_and_pitch(factor: float, samples: int) -> None:
    wave_T = speech_features.wave(tone(1.0, 1000), RATE)
    [draw] = draws(0)
    faster_T = speech_features.perturbed(wave_T, RATE, Augmentation(speed=(factor,)), draw)
    assert len(faster_T) == pytest.approx(samples, abs=2)
    spectrum = np.abs(np.fft.rfft(faster_T))
    assert spectrum.argmax() * RATE / len(faster_T) == pytest.approx(1000 * factor, abs=2)


def test_a_wideband_recording_is_heard_at_the_models_rate() -> None:
    wave_T = speech_features.wave(tone(1.0, 440, 16000), RATE)
    assert wave_T.dtype == np.float32
    assert len(wave_T) == RATE
    assert float(np.abs(wave_T).max()) == pytest.approx(8000 / 32768, rel=0.05)
