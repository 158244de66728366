"""Character n-grams as features: hashed, weighted by information about the class, summed as vectors.

A text is normalised; its n-grams, and once more those among its first characters, are hashed to buckets; buckets seen
in enough training texts become features. A feature weighs (1 + ln count) · idf · √(KL(class | feature ‖ class) + ε),
so what says nothing about the class fades, and a text's weights have norm 1. Legend: B texts, F features, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from hotline import text
from hotline.families.classifier_options import NgramOptions

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

CHUNK_TEXTS = 256
SMOOTHING_COUNTS = 5.0
INFORMATION_FLOOR = 0.02
# Odd 64-bit constants of multiplicative hashing (Knuth; splitmix64).
GOLDEN, MIX, LEAD = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x5851F42D4C957F2D))


@dataclass(frozen=True)
class Bags:
    """Sparse rows: text i has `index[offset[i]:offset[i + 1]]` with the values beside them."""

    index: Ints
    value: Floats
    offset: Ints

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def text_of(self) -> Ints:
        return np.repeat(np.arange(len(self)), np.diff(self.offset))


def count(texts: Sequence[str], options: NgramOptions) -> Bags:
    """Buckets of every text with their counts; no Python loop over characters."""
    chunks = [_count_chunk(texts[at : at + CHUNK_TEXTS], options) for at in range(0, len(texts), CHUNK_TEXTS)]
    index, value, sizes = (np.concatenate(part) for part in zip(*chunks, strict=True))
    return Bags(index, value, np.concatenate([[0], np.cumsum(sizes)]))


def _count_chunk(texts: Sequence[str], options: NgramOptions) -> tuple[Ints, Floats, Ints]:
    clean = [text.normalise(raw) for raw in texts]
    codes = np.frombuffer("".join(clean).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    lengths = np.array([len(one) for one in clean], dtype=np.int64)
    owner = np.repeat(np.arange(len(clean)), lengths)
    position = np.arange(len(codes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    remaining = np.repeat(lengths, lengths) - position
    state, keys = np.zeros(len(codes), np.uint64), [np.zeros(0, np.int64)]
    for order in range(1, options.longest + 1):
        following = np.zeros_like(codes)
        following[: max(0, len(codes) - order + 1)] = codes[order - 1 :]
        state = (state + following + np.uint64(order)) * GOLDEN
        state ^= state >> np.uint64(29)
        whole = remaining >= order
        early = whole & (position < options.lead_characters)
        for mask, hashed in ((whole, state[whole]), (early, state[early] ^ LEAD)):
            bucket = ((hashed * MIX) >> np.uint64(64 - options.bucket_bits)).astype(np.int64)
            keys.append(owner[mask] << options.bucket_bits | bucket)
    unique, counts = np.unique(np.concatenate(keys), return_counts=True)
    sizes = np.bincount(unique >> options.bucket_bits, minlength=len(clean))
    return unique & ((1 << options.bucket_bits) - 1), counts.astype(np.float32), sizes


def select(bags: Bags, options: NgramOptions) -> Ints:
    """The buckets that become features: in enough texts, and the commonest of them."""
    texts_with = np.bincount(bags.index, minlength=1 << options.bucket_bits)
    kept = np.flatnonzero(texts_with >= options.minimum_texts)
    if len(kept) > options.maximum_features:
        kept = np.sort(kept[np.argsort(-texts_with[kept], kind="stable")[: options.maximum_features]])
    return kept


def weigh(features: Bags, classes_of: Ints, classes: int, width: int) -> Floats:
    """The weight of each of `width` features from the training texts: idf times the root of its information."""
    texts_with = np.bincount(features.index, minlength=width)
    idf = np.log((1 + len(features)) / (1 + texts_with)) + 1
    information = _information(features, classes_of, classes, width)
    return np.asarray(idf * np.sqrt(information + INFORMATION_FLOOR), dtype=np.float32)


def _information(features: Bags, classes_of: Ints, classes: int, width: int) -> npt.NDArray[np.float64]:
    """KL(class given the feature ‖ class) in nats, smoothed towards the prior.

    A class that never occurs with a feature has a smoothed share proportional to its prior, so all of those add up in
    closed form, and memory grows with the (feature, class) pairs seen rather than with features times classes.
    """
    class_of = np.repeat(classes_of, np.diff(features.offset))
    pair, seen = np.unique(features.index * classes + class_of, return_counts=True)
    feature, label = pair // classes, pair % classes
    prior = np.maximum(np.bincount(classes_of, minlength=classes), 1e-9) / len(classes_of)
    total = np.bincount(feature, seen, minlength=width) + SMOOTHING_COUNTS
    share = (seen + SMOOTHING_COUNTS * prior[label]) / total[feature]
    present = np.bincount(feature, share * np.log(share / prior[label]), minlength=width)
    absent_prior = 1 - np.bincount(feature, prior[label], minlength=width)
    shrink = SMOOTHING_COUNTS / total
    return np.asarray(np.maximum(present + shrink * absent_prior * np.log(shrink), 0))


class NgramEncoder(nn.Module):
    """Texts → vectors. Which buckets are features and what they weigh are buffers, saved with the weights."""

    buckets: Tensor
    weights: Tensor

    def __init__(self, options: NgramOptions, features: int) -> None:
        super().__init__()
        self.options, self.width = options, options.width * options.members
        self.register_buffer("buckets", torch.zeros(features, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(features))
        self.table = nn.EmbeddingBag(features, self.width, mode="sum")
        nn.init.normal_(self.table.weight, std=0.05)
        self._feature_of: npt.NDArray[np.int32] | None = None

    @classmethod
    def fit(cls, options: NgramOptions, texts: Sequence[str], classes_of: Ints, classes: int) -> NgramEncoder:
        """A fresh encoder whose features come from the training texts."""
        counted = count(texts, options)
        kept = select(counted, options)
        encoder = cls(options, max(1, len(kept)))
        if len(kept):
            encoder.buckets.copy_(torch.from_numpy(kept))
            weights = weigh(encoder._known(counted), classes_of, classes, len(kept))
            encoder.weights.copy_(torch.from_numpy(weights))
        return encoder

    def _known(self, counted: Bags) -> Bags:
        """Buckets → features; buckets that are no feature fall away."""
        if self._feature_of is None:
            buckets = self.buckets.cpu().numpy()
            self._feature_of = np.full(1 << self.options.bucket_bits, -1, np.int32)
            self._feature_of[buckets] = np.arange(len(buckets), dtype=np.int32)
        feature = self._feature_of[counted.index]
        known = feature >= 0
        sizes = np.bincount(counted.text_of[known], minlength=len(counted))
        offset = np.concatenate([[0], np.cumsum(sizes)])
        return Bags(feature[known].astype(np.int64), counted.value[known], offset)

    def prepare(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Batch tensors: feature_F, weight_F (norm 1 per text), offset_B."""
        bags = self._known(count(texts, self.options))
        weight = (1 + np.log(bags.value)) * self.weights.cpu().numpy()[bags.index]
        norm = np.sqrt(np.bincount(bags.text_of, weight * weight, minlength=len(bags)))
        weight = (weight / np.maximum(norm, 1e-9)[bags.text_of]).astype(np.float32)
        parts: dict[str, Any] = {"feature_F": bags.index, "weight_F": weight, "offset_B": bags.offset[:-1]}
        return {name: torch.from_numpy(part) for name, part in parts.items()}

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The characters that are read of each text."""
        return [len(text.normalise(each)) for each in texts]

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        weight_F = functional.dropout(batch["weight_F"], self.options.feature_dropout, self.training)
        if torch.compiler.is_exporting():
            return _sums(self.table.weight[batch["feature_F"]] * weight_F[:, None], batch["offset_B"])
        vector_BD: Tensor = self.table(batch["feature_F"], batch["offset_B"], per_sample_weights=weight_F)
        return vector_BD


def _sums(row_FD: Tensor, offset_B: Tensor) -> Tensor:
    """What an EmbeddingBag adds up, without the loop over bags that ONNX would make of one; bags may be empty."""
    start_F = row_FD.new_zeros(len(row_FD) + 1, dtype=torch.int64)
    bag_F = start_F.index_add(0, offset_B, torch.ones_like(offset_B))[:-1].cumsum(0) - 1
    return row_FD.new_zeros(len(offset_B), row_FD.shape[1]).index_add(0, bag_F, row_FD)
