"""Recipes for GPUs: each is read, planned, and trains two steps of a tiny random model of its architecture."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from data.store import Rows
from hotline import families
from hotline.audio import tone
from hotline.families import vocabularies
from hotline.families.recognisers import reinitialise
from hotline.task import Task
from training.batches import plan_of
from training.fit import fit
from training.recipe import Recipe, load

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = ("路灯坏了", "井盖丢失", "垃圾没人清运", "施工噪音")
OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OddConfig(LlamaConfig):
    model_type = "odd"


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def keep(model: Any, folder: Path) -> None:
    torch.manual_seed(1)
    reinitialise(model)
    model.save_pretrained(folder)


def qwen3(folder: Path, kind: str = "qwen3") -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    words = vocabularies.trained(TEXTS, 400, single_characters=True)
    named = {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = AutoConfig.for_model(kind, **SMALL, num_key_value_heads=1, **named, bos_token_id=None)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)


def telechat(folder: Path) -> None:
    qwen3(folder, "llama")
    (folder / "modeling_odd.py").write_text(OWN_CODE, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    mapped = {"AutoConfig": "modeling_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddForCausalLM"}
    config |= {"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": mapped}
    (folder / "config.json").write_text(json.dumps(config))


def whisper(folder: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    marks = ["<|startoftranscript|>", "<|en|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>"]
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>", *marks]
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    tokenizer = WhisperTokenizer(vocab=numbers, merges=[], language="zh", task="transcribe")
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.set_prefix_tokens(language="zh", task="transcribe")
    sizes = {"d_model": 32, "num_mel_bins": 24, "max_source_positions": 50, "max_target_positions": 448}
    layers = {f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in HALF.items()}
    ends = {f"{name}_token_id": 256 for name in ("pad", "bos", "eos")}
    silent = {"suppress_tokens": [], "begin_suppress_tokens": [256], "decoder_start_token_id": 257}
    config = WhisperConfig(vocab_size=len(symbols), **sizes, **layers, **ends, **silent)
    keep(WhisperForConditionalGeneration(config), folder)
    WhisperFeatureExtractor(feature_size=24, chunk_length=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


HALF = {"layers": 1, "attention_heads": 2, "ffn_dim": 64}


def parakeet(folder: Path) -> None:
    from transformers import ParakeetCTCConfig, ParakeetFeatureExtractor, ParakeetForCTC

    encoder = {**SMALL, "subsampling_factor": 4, "subsampling_conv_channels": 16, "num_mel_bins": 24}
    keep(ParakeetForCTC(ParakeetCTCConfig(vocab_size=7, pad_token_id=6, encoder_config=encoder)), folder)
    ParakeetFeatureExtractor(feature_size=24).save_pretrained(folder)


def w2v_bert(folder: Path) -> None:
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    sizes = {**SMALL, "feature_projection_input_dim": 48, "conv_depthwise_kernel_size": 3}
    keep(Wav2Vec2BertModel(Wav2Vec2BertConfig(vocab_size=None, **sizes)), folder)  # published without a CTC head
    SeamlessM4TFeatureExtractor(feature_size=24, num_mel_bins=24, stride=2).save_pretrained(folder)


AUDIO_LANGUAGE_MODELS = runpy.run_path(str(Path(__file__).parents[1] / "random_audio_language_models.py"))


def qwen3_asr(folder: Path) -> None:
    AUDIO_LANGUAGE_MODELS["qwen3_asr"](folder, TEXTS)


def fun_asr_nano(folder: Path) -> None:
    AUDIO_LANGUAGE_MODELS["fun_asr_nano"](folder, TEXTS)


BASES: dict[str, Callable[[Path], None]] = {
    "titles_qwen3_0_6b": qwen3,
    "titles_qwen3_8b_lora": qwen3,
    "titles_qwen3_8b_full": qwen3,
    "titles_qwen3_32b_lora": qwen3,
    "answers_qwen3_8b_lora": qwen3,
    "titles_telechat": telechat,
    "speech_whisper_large_v3": whisper,
    "speech_parakeet": parakeet,
    "speech_w2v_bert": w2v_bert,
    "speech_qwen3_asr": qwen3_asr,
    "speech_fun_asr_nano": fun_asr_nano,
}


def rows_of(task: Task) -> Rows:
    """Four rows, that two micro-batches hold."""
    if task.audio_field:
        inputs = [task.input.model_validate({"audio": tone(0.8, 300 + 200 * n, 16_000)}) for n in range(4)]
        targets = [task.target.model_validate({"text": text, "dialect": "cmn"}) for text in TEXTS]
    else:
        said = dict.fromkeys(task.input.model_fields, "东街的路灯坏了三天")
        inputs = [task.input.model_validate(said) for _ in TEXTS]
        targets = [task.target.model_validate({"text": text}) for text in TEXTS]
    ids = [str(number) for number in range(4)]
    return Rows(ids=ids, inputs=inputs, targets=targets, provenance={}, clusters=ids, splits=["train"] * 4)


def here(recipe: Recipe, base: Path, rows: Rows) -> Recipe:
    """The recipe on this machine: its base, accelerator, ranks and batch are ours, everything else is its own."""
    options = recipe.model.model_copy(
        update={"root": recipe.model.root.model_copy(update={"base": str(base), "revision": None})}  # type: ignore[attr-defined]
    )
    alone: dict[str, Any] = {"devices": 1, "deepspeed": None, "accelerator": "cpu", "max_epochs": 1, "accumulate": 1}
    family = families.find(recipe.find_task().family)
    torch.manual_seed(0)
    model = family.create(options, recipe.find_task(), None, rows.inputs, rows.targets)
    largest = max(each.size for each in families.measured(family, model, rows.inputs, rows.targets))
    size = {"batch_rows": 2} if recipe.trainer.batch_rows else {"budget": 2 * largest}
    trainer = recipe.trainer.model_copy(update={**alone, **size})
    planned = plan_of(family, model, rows, trainer, recipe.seed, 1).accounting()
    assert (planned.steps, planned.rows_dropped) == (2, 0)
    return recipe.model_copy(update={"model": options, "trainer": trainer})


@pytest.mark.parametrize("name", BASES)
def test_a_production_recipe_is_planned_and_trains_two_steps(name: str, tmp_path: Path) -> None:
    recipe = load(RECIPES / f"{name}.yaml")
    BASES[name](tmp_path)
    task = recipe.find_task()
    rows = rows_of(task)
    adapted = here(recipe, tmp_path, rows)
    torch.manual_seed(recipe.seed)
    family, model = fit(adapted, task, None, rows, rows)
    figures = family.finish(model, rows.inputs, rows.targets)
    merged = getattr(getattr(recipe.model, "root", None), "adapter", None)
    assert ("merge/top1_agreement" in figures) == bool(merged and merged.merge)
    assert len(families.answer(family, model, rows.inputs)) == 4


def test_every_recipe_that_needs_a_gpu_is_tried_here() -> None:
    large = {path.stem for path in RECIPES.glob("*.yaml") if "accelerator: gpu" in path.read_text(encoding="utf-8")}
    assert large == set(BASES)
