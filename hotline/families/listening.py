"""Clips whose transcripts are written side by side: each joins when it comes, and leaves when its text ends.

For recognisers with a language model behind an audio encoder (audio_language_models.py) that write the likeliest
symbol. Nothing is padded where they write, and no clip waits for the longest of a batch.
Legend: B clips, L places of sound, D width, K dialects, P prompt, R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from hotline.families import row_attention, row_cache, transcriber
from hotline.families.audio_language_models import AudioLanguageModel
from hotline.families.row_cache import RowCache, Stretch
from hotline.task import Answer, Input
from hotline.wishes import Wish

MATTERS_NOT = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "max_length", "max_new_tokens", "num_beams", "use_cache"),
    *("do_sample", "temperature", "top_k", "top_p", "min_p", "output_attentions", "output_hidden_states"),
    *("transformers_version", "_from_model_config"),
}
"""Settings of a base's generation that say nothing about which symbol is taken, or that the options say instead."""


@dataclass(eq=False)
class Clip:
    """One clip that is being written down."""

    given: Input
    wish: Wish
    stretch: Stretch
    state: dict[str, Any]
    """What the family's `decode` reads of it beside the text."""
    prompt_PD: Tensor
    tokens: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def unread(self) -> Sequence[int] | Tensor:
        """What the language model reads next."""
        return self.tokens[-1:] if self.tokens else self.prompt_PD


def able(model: Any) -> bool:
    """Whether the model's transcripts can be written in this way."""
    recogniser = model.recogniser
    if not (isinstance(recogniser, AudioLanguageModel) and model.writes and model.options.root.beams == 1):
        return False
    shaped = set(recogniser.model.generation_config.to_diff_dict()) - MATTERS_NOT
    return not shaped and row_attention.install(recogniser.model.model.language_model)


class Listening:
    """The clips that one transcriber, which is `able`, writes down at a time."""

    def __init__(self, model: Any, cache_bytes: int) -> None:
        """Keys and values of all clips take `cache_bytes` at most."""
        self._model, self._recogniser = model, model.recogniser
        config, number = self._recogniser.model.config.text_config, next(model.parameters()).element_size()
        tokens = max(1, cache_bytes // row_cache.bytes_per_token(config, number))
        self._memory = RowCache(self._recogniser.model, tokens)
        self._clips: list[Clip] = []

    @torch.inference_mode()
    def join(self, wanted: Sequence[tuple[Input, Wish]]) -> list[Clip | None]:
        """Hear these together, to be written from the next step on; None for each that there is no memory for now."""
        batch = transcriber.prepare(self._model, [given for given, _ in wanted])
        frame = len(self._recogniser.before) + len(self._recogniser.after) + self._recogniser.longest + 1
        stretches = [self._memory.take(frame + places) for places in batch["places_B"].tolist()]
        fitting = [number for number, stretch in enumerate(stretches) if stretch]
        clips: list[Clip | None] = [None] * len(wanted)
        try:
            heard = self._heard({name: each[fitting] for name, each in batch.items()}) if fitting else []
        except Exception:
            for stretch in filter(None, stretches):
                self._memory.give_back(stretch)
            raise
        for number, (state, prompt_PD) in zip(fitting, heard, strict=True):
            clips[number] = Clip(*wanted[number], cast("Stretch", stretches[number]), state, prompt_PD)
        self._clips += filter(None, clips)
        return clips

    def _heard(self, batch: dict[str, Tensor]) -> list[tuple[dict[str, Any], Tensor]]:
        """What is known of each clip before it is written down, and its prompt."""
        hidden_BLD, mask_BL, state = transcriber.heard(self._model, batch)
        prompts = self._recogniser.prompts(hidden_BLD, mask_BL)
        return [
            ({name: each[number : number + 1] for name, each in state.items()}, prompt_PD)
            for number, prompt_PD in enumerate(prompts)
        ]

    @torch.inference_mode()
    def step(self) -> list[Clip]:
        """Write one symbol of every clip; those that end with it, which leave."""
        scores_RV = self._memory.read([(clip.stretch, clip.unread) for clip in self._clips]).float()
        best = scores_RV.max(-1)
        log_probabilities = (best.values - scores_RV.logsumexp(-1)).tolist()
        ended = []
        for clip, token, score in zip(self._clips, best.indices.tolist(), log_probabilities, strict=True):
            ends = token in self._recogniser.ends
            clip.tokens.append(self._recogniser.end if ends else token)
            clip.scores.append(score)
            if ends or len(clip.tokens) > self._recogniser.longest:
                ended.append(clip)
        for clip in ended:
            self.leave(clip)
        return ended

    def leave(self, clip: Clip) -> None:
        """Write no more of it; one that has ended may leave again."""
        if clip in self._clips:
            self._clips.remove(clip)
            self._memory.give_back(clip.stretch)

    @torch.inference_mode()
    def answer(self, clip: Clip) -> Answer:
        """Of a clip that has ended, as the family decodes it. Raises ValidationError for a text that is no answer."""
        text = {"token_BNU": torch.tensor([[clip.tokens]]), "score_BNU": torch.tensor([[clip.scores]])}
        return next(transcriber.decode_with(self._model, clip.state | {"text": text}, [clip.given], [clip.wish]))
