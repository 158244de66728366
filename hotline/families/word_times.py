"""Where the words of a transcript lie in the sound: a small network that hears a third of a second at a time.

The scores of a recogniser say what was said, not when: an encoder whose attention spans the clip may tell a symbol
anywhere, and does (docs/speech.md has the measurement). This network sees 0.29 s around each of its outputs, so what it
tells, it tells where it is; it learns beside the recogniser from the same transcripts, by CTC, and only aligns.
Legend: B clips, F frames of 10 ms, M mels, L outputs of 40 ms, D width, V symbols, U symbols of a text.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from hotline.families import ctc
from hotline.families.characters import Characters
from hotline.families.recognisers import ctc_loss, padded
from hotline.families.speech_features import FRAME_SECONDS, LogMel, Wave
from hotline.wishes import Word, is_word, units

MELS, WIDTH, KERNEL = 64, 96, 5
OUTPUT_SECONDS = 4 * FRAME_SECONDS
PAUSE_SECONDS = 0.4
"""Between two words that are further apart nobody speaks; closer ones meet half way."""
EDGE_SECONDS = 0.1
"""What a word has beside its outermost output at a pause. Both were chosen on validation calls."""


class Aligner(nn.Module):
    """Three convolutions over log-mel bands, and a head over the characters of the training transcripts."""

    def __init__(self, sample_rate_hz: int, characters: Characters) -> None:
        super().__init__()
        self.sample_rate_hz, self.characters = sample_rate_hz, characters
        self.log_mel = LogMel(sample_rate_hz, MELS)
        half = KERNEL // 2
        self.first = nn.Conv1d(MELS, WIDTH, KERNEL, stride=2, padding=half)
        self.second = nn.Conv1d(WIDTH, WIDTH, KERNEL, stride=2, padding=half)
        self.third = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=half)
        self.norms = nn.ModuleList([nn.BatchNorm1d(WIDTH), nn.BatchNorm1d(WIDTH)])
        self.head = nn.Linear(WIDTH, len(characters))

    def prepare(self, waves: Sequence[Wave], texts: Sequence[str] = ()) -> dict[str, Tensor]:
        """times_BFM, times_mask_BF, and with texts times_text_BU."""
        sound = self.log_mel(waves)
        batch = {"times_BFM": sound["features_BFM"], "times_mask_BF": sound["mask_BF"]}
        return batch | ({"times_text_BU": padded([self.characters.encode(text) for text in texts])} if texts else {})

    def forward(self, sound_BFM: Tensor) -> Tensor:
        """Scores of the symbols, (B, L, V)."""
        seen = self.norms[0](functional.relu(self.first(sound_BFM.transpose(1, 2))))
        seen = self.norms[1](functional.relu(self.second(seen)))
        return torch.as_tensor(self.head(functional.relu(self.third(seen)).transpose(1, 2)))

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean over the clips of their CTC loss per symbol: a scalar."""
        logits_BLV = self(batch["times_BFM"])
        lengths_B = -(-batch["times_mask_BF"].sum(1) // 4)
        mask_BL = torch.arange(logits_BLV.shape[1], device=logits_BLV.device) < lengths_B[:, None]
        return ctc_loss(logits_BLV, mask_BL.long(), batch["times_text_BU"], ctc.BLANK)

    def words(self, wave: Wave, text: str) -> tuple[Word, ...]:
        """The words of the text in order, each after the last; none when the text does not fit into the sound."""
        seconds = len(wave) / self.sample_rate_hz
        with torch.inference_mode():
            batch = self.prepare([wave])
            outputs = -(-int(batch["times_mask_BF"].sum()) // 4)
            scores_LV = functional.log_softmax(self(batch["times_BFM"])[0, :outputs].float(), dim=-1).cpu().numpy()
        return aligned(scores_LV, units(text), self.characters, seconds)


def aligned(
    scores_LV: ctc.LogProbabilities, said: Sequence[str], characters: Characters, seconds: float
) -> tuple[Word, ...]:
    """The units that are words, with the bounds that a forced alignment of all of them gives."""
    numbers = [characters.encode(unit) for unit in said]
    pieces = ctc.align(scores_LV, [number for each in numbers for number in each])
    if not pieces:
        return ()
    remaining, spans, last = iter(pieces), list[tuple[float, float]](), 0
    for each in numbers:
        mine = [next(remaining) for _ in each]
        first, last = (mine[0].start, mine[-1].end) if mine else (last, last)  # unknown: where its neighbour ends
        spans.append((first * OUTPUT_SECONDS, last * OUTPUT_SECONDS))
    bounds = _meeting(spans, seconds)
    return tuple(
        Word(text=unit, start_seconds=round(start, 3), end_seconds=round(end, 3))
        for unit, (start, end) in zip(said, bounds, strict=True)
        if is_word(unit)
    )


def _meeting(spans: Sequence[tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    """The spans widened: to the middle between neighbours, or by EDGE_SECONDS at a pause; none beyond the sound."""
    starts, ends = [max(0.0, spans[0][0] - EDGE_SECONDS)], list[float]()
    for (_, end), (start, _) in itertools.pairwise(spans):
        apart = start - end > PAUSE_SECONDS
        ends.append(end + EDGE_SECONDS if apart else (start + end) / 2)
        starts.append(start - EDGE_SECONDS if apart else (start + end) / 2)
    ends.append(spans[-1][1] + EDGE_SECONDS)
    return [(min(start, seconds), min(end, seconds)) for start, end in zip(starts, ends, strict=True)]
