"""An audio encoder before a language model that writes the transcript: Qwen3-ASR and Fun-ASR-Nano.

The prompt is the base's own: its template around a clip's sound, one hidden state for each placeholder. A model of this
kind knows no frame of a symbol either: every piece of a reading bears the bounds of the whole clip.
Legend: B clips, T frames, M bands, L places of sound, D width, N readings, R = B·N rows, P prompt, U symbols,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hotline.errors import InputError
from hotline.families import adapters, speech_features
from hotline.families.adapter_options import AdapterOptions
from hotline.families.recognisers import IGNORED, Encoded, Heard, padded
from hotline.families.sequence_recogniser import Likeliest, heard_of, probabilities, symbol_loss
from hotline.families.speech_features import Wave
from hotline.families.tokens import Tokens
from hotline.families.transcriber_options import Augmentation, PretrainedSpeechOptions

MODEL_TYPES = ("qwen3_asr", "fun_asr_nano")
SHORTEST_SECONDS = 0.1
ENCODED_AT_ONCE = 8
"""Clips, on a CPU: the convolutions of more at once wait for memory."""
TEXT_MARK = "<asr_text>"
"""What Qwen3-ASR writes between the language, if it was told none, and the text."""


class AudioLanguageModel(nn.Module):
    """A checkpoint's model and processor. Sound beyond what the encoder has positions for is not heard."""

    characters = None

    def __init__(self, options: PretrainedSpeechOptions, model: Any, processor: Any) -> None:
        super().__init__()
        self.model: Any = model
        if hasattr(model.config, "adaptor_config"):  # without it transformers 5.23 attends to padding there
            model.config.adaptor_config._attn_implementation = model.config._attn_implementation
        self.processor, self.tokens = processor, Tokens(processor.tokenizer)
        self.sample_rate_hz = int(processor.feature_extractor.sampling_rate)
        self.width = int(model.config.text_config.hidden_size)
        self.bands = int(processor.feature_extractor.feature_size)
        self.longest, self.longest_sound = options.max_characters, _longest_sound(model.config, processor)
        self.end, self.mark = int(processor.tokenizer.eos_token_id), processor.tokenizer.get_vocab().get(TEXT_MARK)
        ends = model.generation_config.eos_token_id
        self.ends = sorted({self.end, *(ends if isinstance(ends, list | tuple) else [] if ends is None else [ends])})
        self.prompt = _prompt(processor, options.language)
        numbers: list[int] = processor.tokenizer(self.prompt, add_special_tokens=False)["input_ids"]
        if numbers.count(model.config.audio_token_id) != 1:
            raise InputError(
                "the base's chat template does not ask for one clip",
                where=options.base,
                found=repr(self.prompt),
                expected=f"one {processor.audio_token}",
                next="take a commit of the base that was made for this version of transformers",
            )
        at = numbers.index(model.config.audio_token_id)
        self.before, self.after = numbers[:at], numbers[at + 1 :]

    def save(self, folder: Path) -> None:
        """Configuration, generation settings, and the processor with tokenizer and template; no weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.config.save_pretrained(folder)
        self.model.generation_config.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def features(
        self,
        waves: Sequence[Wave],
        options: Augmentation | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> dict[str, Tensor]:
        """sound_BTM and mask_BT, and places_B, how many hidden states stand for each clip."""
        heard = [self._heard(each) for each in waves]  # one by one: a mirrored end would be another in a batch
        if draws is not None and options is not None:
            for (sound_TM, mask_T, _), draw in zip(heard, draws, strict=True):
                frames = sound_TM[: int(mask_T.sum())].view(-1, self.bands)  # Fun-ASR stacks seven to a frame
                mean = frames.mean()
                speech_features.mask(frames.sub_(mean), options, draw)  # what is hidden becomes 0
                frames.add_(mean)
        return {
            "sound_BTM": pad_sequence([sound_TM for sound_TM, _, _ in heard], batch_first=True),
            "mask_BT": pad_sequence([mask_T for _, mask_T, _ in heard], batch_first=True),
            "places_B": torch.tensor([places for _, _, places in heard]),
        }

    def _heard(self, wave_T: Wave) -> tuple[Tensor, Tensor, int]:
        """Frames and their mask by the base's processor, and the placeholders that it wrote for them."""
        shortest = int(SHORTEST_SECONDS * self.sample_rate_hz)
        wave_T = np.pad(wave_T[: self.longest_sound], (0, max(0, shortest - len(wave_T))))
        given = self.processor(text=[self.prompt], audio=[wave_T])
        sound, mask_T = given["input_features"][0].float(), given["input_features_mask"][0].long()
        sound_TM = sound.T if self._bands_first else sound
        return sound_TM, mask_T, int((given["input_ids"] == self.model.config.audio_token_id).sum())

    @property
    def _bands_first(self) -> bool:
        return bool(self.model.config.model_type == "qwen3_asr")

    def labels(self, texts: Sequence[str]) -> Tensor:
        return padded([[*self.tokens.encode(text)[: self.longest], self.end] for text in texts])

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        """The sound as the language model gets it: after the encoder and the projection to its width."""
        sound, places_B = batch["sound_BTM"], batch["places_B"]
        sound = sound.transpose(1, 2) if self._bands_first else sound
        # Only to answer: ranks in training that share weights must make equally many passes.
        clips = ENCODED_AT_ONCE if sound.device.type == "cpu" and not self.training else len(sound)
        parts = zip(torch.split(sound, clips), torch.split(batch["mask_BT"], clips), strict=True)
        said = [self.model.get_audio_features(input_features=part, input_features_mask=mask) for part, mask in parts]
        hidden = torch.cat([each.pooler_output for each in said])
        hidden_BLD = pad_sequence(list(torch.split(hidden, places_B.tolist())), batch_first=True)
        mask_BL = torch.arange(hidden_BLD.shape[1], device=places_B.device) < places_B[:, None]
        return Encoded(hidden_BLD, mask_BL.long())

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        """Of the transcript's symbols and the end alone: the prompt is given."""
        return symbol_loss(self._logits(encoded.hidden_BLD, encoded.mask_BL, labels_BU), labels_BU)

    def scored(self, hidden_BLD: Tensor, mask_BL: Tensor, labels_BU: Tensor) -> Tensor:
        """Scores at every symbol of the true texts, (symbols, V)."""
        return self._logits(hidden_BLD, mask_BL, labels_BU)[labels_BU != IGNORED]

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        """token_BNU after the prompt, and score_BNU, the log-probability of each; N = `beams`, best first."""
        prompts = self.prompts(hidden_BLD, mask_BL)
        likeliest = Likeliest()
        ones = [torch.ones(len(each), dtype=torch.long, device=each.device) for each in prompts]
        token_RU = self.model.generate(
            inputs_embeds=pad_sequence(prompts, batch_first=True, padding_side="left"),
            attention_mask=pad_sequence(ones, batch_first=True, padding_side="left"),
            do_sample=False,
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=self.longest + 1,
            eos_token_id=self.ends,
            pad_token_id=self.end,
            logits_processor=[likeliest] if beams == 1 else [],
        )
        hidden_RLD, mask_RL = (each.repeat_interleave(beams, dim=0) for each in (hidden_BLD, mask_BL))
        score_RU = (
            likeliest.score_RU()
            if beams == 1
            else probabilities(
                lambda some: self._logits(hidden_RLD[some], mask_RL[some], token_RU[some]),
                token_RU,
                self.model.config.text_config.vocab_size,
            )
        )
        token_RU = token_RU.masked_fill(torch.isin(token_RU, torch.tensor(self.ends, device=token_RU.device)), self.end)
        shape = (len(hidden_BLD), beams, token_RU.shape[1])
        return {"token_BNU": token_RU.reshape(shape), "score_BNU": score_RU.reshape(shape)}

    def decode(self, state: Any, seconds: Sequence[float], beams: int) -> list[list[Heard]]:
        return heard_of(state, seconds, self.end, self._written)

    def _written(self, numbers: Sequence[int]) -> list[tuple[str, list[int]]]:
        """The text's pieces; the language that a base may name before it is none of it."""
        start = numbers.index(self.mark) + 1 if self.mark in numbers else 0
        return [(text, [start + place for place in places]) for text, places in self.tokens.written(numbers[start:])]

    def prompts(self, hidden_BLD: Tensor, mask_BL: Tensor) -> list[Tensor]:
        """Every clip's prompt, (P, D)."""
        embedded = self.model.get_input_embeddings()
        before_PD, after_PD = (
            embedded(torch.tensor(each, device=hidden_BLD.device)) for each in (self.before, self.after)
        )
        return [
            torch.cat([before_PD, hidden_LD[:places], after_PD])
            for hidden_LD, places in zip(hidden_BLD, mask_BL.sum(1).tolist(), strict=True)
        ]

    def _logits(self, hidden_BLD: Tensor, mask_BL: Tensor, token_BU: Tensor) -> Tensor:
        """Scores of every symbol, (B, U, V), given the prompt and the true symbols before it."""
        prompts = self.prompts(hidden_BLD, mask_BL)
        before_BU = token_BU[:, :-1].masked_fill(token_BU[:, :-1] == IGNORED, self.end)
        known_BUD = self.model.get_input_embeddings()(before_BU)
        rows = [torch.cat([prompt_PD, each_UD]) for prompt_PD, each_UD in zip(prompts, known_BUD, strict=True)]
        # Padded behind: what is causal never looks there, and needs no mask.
        said = self.model.model(inputs_embeds=pad_sequence(rows, batch_first=True), use_cache=False).last_hidden_state
        last_B1 = torch.tensor([[len(each) - 1] for each in prompts], device=said.device)
        at_BU = last_B1 + torch.arange(token_BU.shape[1], device=said.device)
        picked_BUD = said.gather(1, at_BU.unsqueeze(-1).expand(-1, -1, said.shape[-1]))
        return torch.as_tensor(self.model.lm_head(picked_BUD)).float()


def adapt(model: Any, options: AdapterOptions) -> None:
    """Adapters in the language model; encoder, projection and embeddings stay as they are."""
    model.requires_grad_(False)
    adapters.inject(model.model.language_model, options)


def find_processor(folder: Path, model_type: str) -> Any:
    """The base's processor. Raises InputError when the base has no processor, tokenizer or chat template."""
    from transformers import AutoProcessor

    try:
        if model_type == "fun_asr_nano":
            from hotline.families import fun_asr_features

            found = fun_asr_features.processor(folder)
        else:
            found = AutoProcessor.from_pretrained(folder)
        if found.audio_token not in found.tokenizer.get_vocab():
            raise ValueError(f"the tokenizer does not know {found.audio_token}")
    except (OSError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise InputError(
            "the base has no processor",
            where=str(folder),
            found=error,
            expected="processor_config.json, tokenizer and chat_template.jinja, as transformers saves them",
        ) from error
    if not found.chat_template:
        raise InputError("the base has no chat template", where=str(folder), expected="chat_template.jinja")
    return found


def _prompt(processor: Any, language: str | None) -> str:
    """What the base is asked about a clip, in the words of its template."""
    from jinja2 import TemplateError

    silence = np.zeros(processor.feature_extractor.sampling_rate, np.float32)
    try:
        [asked] = processor.apply_transcription_request([silence], language=language, tokenize=False)
    except (ValueError, TemplateError) as error:
        raise InputError(
            "the base cannot be asked for a transcript",
            where="model.language, chat_template.jinja",
            found=error,
            expected="a language that the base knows, and the template that came with it",
        ) from error
    return str(asked)


def _longest_sound(config: Any, processor: Any) -> int | None:
    """Samples that the encoder has positions for; Qwen3-ASR counts them anew every second."""
    if config.model_type != "fun_asr_nano":
        return None
    heard = processor.feature_extractor
    step = heard.stride_lfr * heard.frame_shift * heard.sampling_rate // 1000
    return int((config.audio_config.max_position_embeddings - 1) * step)
