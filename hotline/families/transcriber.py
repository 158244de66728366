"""Family `transcriber`: a recogniser for what is said, and a head for the dialect that it is said in.

Which of the two answers, the task's target says: one with a text is transcribed, one with a label is the dialect's tag.
Legend: B clips, L outputs, D width, K dialects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hotline.audio import Audio
from hotline.dialects import UNKNOWN
from hotline.families import speech_features, spoken_answers, spoken_wishes
from hotline.families.characters import Characters
from hotline.families.hearing import refuse_deaf
from hotline.families.recognisers import IGNORED, Heard
from hotline.families.transcriber_model import DECLARATION_FILE, Transcriber, load, save
from hotline.families.transcriber_options import PretrainedSpeechOptions, TranscriberOptions
from hotline.families.word_times import Aligner
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task
from hotline.wishes import Abilities, Wish

if TYPE_CHECKING:
    from hotline.families.listening import Listening

__all__ = ["DECLARATION_FILE", "Transcriber", "load", "save"]
TOLD_SHARE = 0.97
"""Of the validation clips that the dialect head gets right, the share that stays above its floor."""


def base_digest(options: TranscriberOptions) -> str | None:
    """Digest of the pretrained files; None from scratch."""
    if not isinstance(options.root, PretrainedSpeechOptions):
        return None
    from hotline.families import pretrained_speech

    return pretrained_speech.base_digest(options.root)


def create(
    options: TranscriberOptions,
    task: Task,
    tree: LabelTree | None,
    inputs: Sequence[Input],
    targets: Sequence[Target],
) -> Transcriber:
    """A fresh transcriber whose characters and dialects come from the training targets.

    Raises HotlineError when its encoder does not react to its input.
    """
    from hotline.families import making

    dialects = sorted({_dialect(target) for target in targets} - {UNKNOWN})
    texts = [_text(target) for target in targets]
    recogniser = making.fresh(options.root, texts)
    model = Transcriber(task, options, recogniser, dialects, _aligner(task, options, recogniser, texts))
    refuse_deaf(model.recogniser)
    if model.adapter:
        model.base = base_digest(options)
    return model


def prepare(
    model: Transcriber,
    inputs: Sequence[Input],
    targets: Sequence[Target] | None = None,
    draws: Sequence[np.random.Generator] | None = None,
) -> dict[str, Tensor]:
    """The recogniser's tensors, seconds_B, and with targets text_BU and dialect_B; `draws` ask for augmentation."""
    recogniser, augmentation = model.recogniser, model.options.root.augmentation
    sounds: list[Audio] = [getattr(each, model.audio_field) for each in inputs]
    waves = [speech_features.wave(sound, recogniser.sample_rate_hz) for sound in sounds]
    if draws is not None:
        waves = [
            speech_features.perturbed(each, recogniser.sample_rate_hz, augmentation, draw)
            for each, draw in zip(waves, draws, strict=True)
        ]
    batch: dict[str, Tensor] = recogniser.features(waves, augmentation, draws)
    batch["seconds_B"] = torch.tensor([sound.seconds for sound in sounds])
    if targets is not None:
        numbers = {tag: number for number, tag in enumerate(model.dialects)}
        batch["text_BU"] = recogniser.labels([_text(target) for target in targets])
        batch["dialect_B"] = torch.tensor([numbers.get(_dialect(target), IGNORED) for target in targets])
        if model.aligner:
            batch |= model.aligner.prepare(waves, [_text(target) for target in targets])
    return batch


def loss(model: Transcriber, batch: Mapping[str, Tensor]) -> Tensor:
    """Loss of the text per symbol, plus the weighted cross entropy of the dialect where it is known, plus the loss of
    the words' places where they are learnt.

    A task without a text learns the dialect alone. Every layer runs in every batch, whatever is known of its clips:
    ranks that share a layer's weights wait for one another there.
    """
    encoded = model.recogniser.encode(dict(batch))
    text: Tensor = model.recogniser.loss(encoded, batch["text_BU"])
    logits_BK, dialect_B = model.dialect_head(_mean(encoded.hidden_BLD, encoded.mask_BL)), batch["dialect_B"]
    known = (dialect_B != IGNORED).sum().clamp_min(1)
    dialect = functional.cross_entropy(logits_BK.float(), dialect_B, ignore_index=IGNORED, reduction="sum") / known
    places = model.aligner.loss(dict(batch)) if model.aligner else 0.0
    return text + model.options.root.dialect_weight * dialect + places if model.writes else 0.0 * text + dialect


def forward(model: Transcriber, batch: Mapping[str, Tensor]) -> Any:
    """dialect_BK (probabilities), seconds_B, and the recogniser's own state where the task wants a text."""
    hidden_BLD, mask_BL, state = heard(model, batch)
    if not model.writes:
        return state
    return {**state, "text": model.recogniser.readings(hidden_BLD, mask_BL, model.options.root.beams)}


def heard(model: Transcriber, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """hidden_BLD and mask_BL of the sound, and what `forward` tells of it beside the text."""
    hidden_BLD, mask_BL, _ = model.recogniser.encode(dict(batch))
    dialect_BK = model.dialect_head(_mean(hidden_BLD, mask_BL)).float().softmax(-1)
    return hidden_BLD, mask_BL, {"dialect_BK": dialect_BK, "seconds_B": batch["seconds_B"]}


def listening(model: Transcriber, cache_bytes: int) -> Listening | None:
    """Its clips, written side by side; None for a recogniser that hears a batch from its beginning to its end."""
    from hotline.families import listening

    return listening.Listening(model, cache_bytes) if listening.able(model) else None


def decode(model: Transcriber, state: Any) -> Iterator[Answer]:
    """One answer per clip: the transcript, or the dialect's tag with the others as alternatives."""
    return _decoded(model, state, [])


def decode_with(model: Transcriber, state: Any, inputs: Sequence[Input], wishes: Sequence[Wish]) -> Iterator[Answer]:
    """The same with hotwords, and with the times of words where they are wished for."""
    return spoken_wishes.with_words(
        model, _decoded(model, state, spoken_wishes.expected(model, wishes)), inputs, wishes
    )


def abilities(model: Transcriber) -> Abilities:
    """Word times where they were learnt, hotwords in the characters of a CTC, and its dialects."""
    return spoken_wishes.abilities(model)


def _decoded(model: Transcriber, state: Any, expected: list[list[list[int]]]) -> Iterator[Answer]:
    floor = float(model.dialect_floor)
    ranked = [spoken_answers.ranked(model.dialects, row, floor) for row in state["dialect_BK"].tolist()]
    if not model.writes:
        yield from (spoken_answers.tagged(model.task, each) for each in ranked)
        return
    seconds = state["seconds_B"].tolist()
    readings: list[list[Heard]] = model.recogniser.decode(
        state["text"], seconds, model.options.root.beams, *([expected] if expected else [])
    )
    for heard, length, dialects in zip(readings, seconds, ranked, strict=True):
        yield spoken_answers.transcribed(model.task, heard, length, dialects[0][0])


def parameter_groups(model: Transcriber, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": learning_rate, "weight_decay": 0.0},
    ]


def finish(model: Transcriber, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
    """On the validation split: the adapter merged and verified, and the probability below which a dialect is `unknown`.

    Raises IntegrityError when the merged model does not answer as the unmerged one.
    """
    model.eval()
    figures: dict[str, float] = {}
    if model.adapter:
        from hotline.families import transcriber_merge

        model.report = transcriber_merge.merge(model, inputs, targets)
        model.adapter, figures = None, model.report.figures
    sure = []
    with torch.inference_mode():
        for at in range(0, len(inputs), 32):
            state = forward(model, prepare(model, inputs[at : at + 32]))
            for row, target in zip(state["dialect_BK"].tolist(), targets[at : at + 32], strict=True):
                best = int(np.argmax(row))
                if model.dialects and model.dialects[best] == _dialect(target):
                    sure.append(row[best])
    if sure:
        model.dialect_floor.fill_(float(np.quantile(sure, 1 - TOLD_SHARE)))
    return figures | {"validation/dialect_floor": float(model.dialect_floor)}


def _aligner(task: Task, options: TranscriberOptions, recogniser: Any, texts: Sequence[str]) -> Aligner | None:
    if not options.root.word_times or "text" not in task.target.model_fields:
        return None
    return Aligner(recogniser.sample_rate_hz, Characters.of(texts, pieces=options.root.pieces))


def _mean(hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    weight_BL1 = mask_BL.unsqueeze(-1).to(hidden_BLD.dtype)
    return (hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1).clamp_min(1)


def _text(target: Target) -> str:
    return str(getattr(target, "text", ""))


def _dialect(target: Target) -> str:
    return str(getattr(target, "dialect", getattr(target, "label", UNKNOWN)))
