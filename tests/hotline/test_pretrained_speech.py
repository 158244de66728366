"""Recognisers from checkpoints: tiny random ones, made here as transformers saves the large ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hotline import families
from hotline.audio import Audio, tone
from hotline.errors import InputError
from hotline.families import transcriber
from hotline.families.recognisers import reinitialise
from hotline.families.tokens import Tokens
from hotline.families.transcriber import Transcriber
from hotline.families.transcriber_options import TranscriberOptions
from hotline.task import Answer, Input, Target
from hotline.tasks import find

TASK = find("transcription")
CLIPS = {"ab": 300, "ba c": 700, "cab": 1500, "ac": 2500}
"""Text, and hertz of the tone that stands for it."""
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
NO_DROPOUT = {
    f"{name}_dropout": 0.0 for name in ("hidden", "activation", "attention", "feat_proj", "final", "feat_quantizer")
}
STEM = {
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
NO_AUGMENTATION = {"speed": [1.0], "mask_bands": 0, "mask_times": 0}
KINDS = ("wav2vec2", "group_norm", "parakeet", "whisper")
SPECIAL = ["<|startoftranscript|>", "<|en|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>"]
PROMPT = ["<|startoftranscript|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder per architecture; do not change them."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    make_wav2vec2(folders["wav2vec2"], masked=True)
    make_wav2vec2(folders["group_norm"], masked=False)
    make_parakeet(folders["parakeet"])
    make_whisper(folders["whisper"])
    return folders


def saved_weights(model: torch.nn.Module, folder: Path) -> None:
    torch.manual_seed(1)
    reinitialise(model)
    model.save_pretrained(folder)  # type: ignore[operator]


def make_wav2vec2(folder: Path, *, masked: bool) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True} if masked else {}
    saved_weights(Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=8, **SMALL, **STEM, **NO_DROPOUT, **norm)), folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=masked).save_pretrained(folder)
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c"]
    (folder / "vocab.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)


def make_parakeet(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import ParakeetCTCConfig, ParakeetFeatureExtractor, ParakeetForCTC, ParakeetTokenizer

    encoder = {**SMALL, "subsampling_factor": 4, "subsampling_conv_channels": 16, "num_mel_bins": 24}
    saved_weights(ParakeetForCTC(ParakeetCTCConfig(vocab_size=7, pad_token_id=6, encoder_config=encoder)), folder)
    ParakeetFeatureExtractor(feature_size=24).save_pretrained(folder)
    vocabulary = {symbol: number for number, symbol in enumerate(["<unk>", "▁", "a", "b", "c", "▁a", "<pad>"])}
    words = Tokenizer(models.BPE(vocab=vocabulary, merges=[("▁", "a")], unk_token="<unk>"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    ParakeetTokenizer(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)


def make_whisper(folder: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>", *SPECIAL]
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    tokenizer = WhisperTokenizer(vocab=numbers, merges=[], language="zh", task="transcribe")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.set_prefix_tokens(language="zh", task="transcribe")
    config = WhisperConfig(
        vocab_size=len(symbols),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=24,
        max_source_positions=50,
        max_target_positions=32,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        decoder_start_token_id=257,
        suppress_tokens=[],
        begin_suppress_tokens=[256],
    )
    saved_weights(WhisperForConditionalGeneration(config), folder)
    WhisperFeatureExtractor(feature_size=24, chunk_length=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def clips() -> tuple[list[Input], list[Target]]:
    inputs = [TASK.input.model_validate({"audio": tone(0.6, hertz, 8000)}) for hertz in CLIPS.values()]
    return inputs, [TASK.target.model_validate({"text": text}) for text in CLIPS]


def options(base: Path | str, **changed: object) -> TranscriberOptions:
    described = {"architecture": "pretrained", "base": str(base), "augmentation": NO_AUGMENTATION, **changed}
    return TranscriberOptions.model_validate(described)


def created(described: TranscriberOptions) -> Transcriber:
    torch.manual_seed(0)
    return transcriber.create(described, TASK, None, *clips())


def trained(described: TranscriberOptions, steps: int) -> Transcriber:
    """Learnt by heart: at most that many steps, fewer when nothing is left to learn."""
    model = created(described)
    optimiser = torch.optim.AdamW(transcriber.parameter_groups(model, 5e-3, 0.0))
    batch = transcriber.prepare(model, *clips())
    model.train()
    for _ in range(steps):
        loss = transcriber.loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if loss < 0.01:
            break
    return model.eval()


def texts_of(answers: Sequence[Answer]) -> list[str]:
    return [answer.target.text for answer in answers]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_fine_tuned_saved_without_its_base_and_answers_the_same(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    model = trained(options(base), steps=600)
    inputs, _ = clips()
    answers = families.answer(transcriber, model, inputs)
    assert texts_of(answers) == list(CLIPS)
    (tmp_path / "saved").mkdir()
    transcriber.save(model, tmp_path / "saved")
    shutil.rmtree(base)
    files = [path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert {Path(name).suffix for name in files} == {".safetensors", ".json"}
    assert [name for name in files if name.endswith(".safetensors")] == ["model.safetensors"]
    again = transcriber.load(tmp_path / "saved", TASK)
    assert families.answer(transcriber, again, inputs) == answers


@pytest.mark.parametrize("kind", ["wav2vec2", "group_norm", "parakeet"])
def test_a_new_head_over_the_characters_of_the_transcripts(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    for name in ("vocab.json", "tokenizer.json", "tokenizer_config.json"):
        (base / name).unlink(missing_ok=True)
    model = trained(options(base, vocabulary="corpus"), steps=600)
    inputs, _ = clips()
    assert sorted(model.recogniser.characters.symbols) == [" ", "a", "b", "c"]
    answers = families.answer(transcriber, model, inputs)
    assert texts_of(answers) == list(CLIPS)
    (tmp_path / "saved").mkdir()
    transcriber.save(model, tmp_path / "saved")
    again = transcriber.load(tmp_path / "saved", TASK)
    assert again.recogniser.characters.symbols == model.recogniser.characters.symbols
    assert families.answer(transcriber, again, inputs) == answers


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_heard_alike_alone_and_beside_a_longer_one(kind: str, checkpoints: dict[str, Path]) -> None:
    model = created(options(checkpoints[kind])).eval()
    draw = np.random.default_rng(0)
    short, long = (
        TASK.input.model_validate({"audio": Audio(draw.normal(0, 3000, samples).astype(np.int16), 16000)})
        for samples in (8117, 15000)
    )
    with torch.inference_mode():
        alone = transcriber.forward(model, transcriber.prepare(model, [short]))
        beside = transcriber.forward(model, transcriber.prepare(model, [short, long]))
    assert torch.allclose(alone["dialect_BK"], beside["dialect_BK"][:1], atol=1e-5)
    if kind == "whisper":
        length = min(alone["text"]["token_BNU"].shape[2], beside["text"]["token_BNU"].shape[2])
        assert torch.equal(alone["text"]["token_BNU"][0, :, :length], beside["text"]["token_BNU"][0, :, :length])
    else:
        outputs = int(alone["text"]["mask_BL"].sum())
        assert outputs == int(beside["text"]["mask_BL"][0].sum())
        scores = beside["text"]["scores_BLV"][0, :outputs]
        assert torch.allclose(alone["text"]["scores_BLV"][0, :outputs], scores, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_is_drawn_by_the_row_and_the_models_own_is_off(kind: str, checkpoints: dict[str, Path]) -> None:
    strong = {"speed": [1.0], "mask_bands": 2, "mask_times": 20}
    model = created(options(checkpoints[kind], augmentation=strong))
    inputs, _ = clips()
    plain, first, again, other = (
        transcriber.prepare(model, inputs[:1], draws=draws)
        for draws in (None, *([np.random.default_rng(seed)] for seed in (1, 1, 2)))
    )
    [sound] = [name for name in plain if name.startswith("sound")]
    assert torch.equal(first[sound], again[sound])
    assert not torch.equal(first[sound], plain[sound])
    assert not torch.equal(first[sound], other[sound])
    config = model.recogniser.model.config
    assert not getattr(config, "apply_spec_augment", False)
    assert not [name for name, value in config.to_dict().items() if name.endswith("layerdrop") and value]
    assert not getattr(getattr(config, "encoder_config", None), "layerdrop", 0)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_beams_give_different_readings(kind: str, checkpoints: dict[str, Path]) -> None:
    model = created(options(checkpoints[kind], beams=3, max_characters=8)).eval()
    inputs, _ = clips()
    for answer in families.answer(transcriber, model, inputs[:2]):
        readings = [*texts_of([answer]), *(target.text for target, _ in answer.alternatives)]  # type: ignore[attr-defined]
        assert len(set(readings)) == len(readings)


def test_whisper_writes_after_the_prompt_of_its_tokenizer_and_within_its_length(
    checkpoints: dict[str, Path],
) -> None:
    recogniser = created(options(checkpoints["whisper"])).recogniser
    tokenizer = recogniser.tokens.tokenizer
    assert tokenizer.convert_ids_to_tokens(recogniser.prompt) == PROMPT
    labels_BU = recogniser.labels(["a" * 100])
    assert len(recogniser.prompt) + labels_BU.shape[1] == recogniser.model.config.max_target_positions


def test_weights_that_two_layers_share_are_written_once(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    model = created(options(checkpoints["whisper"]))
    transcriber.save(model, tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        shared = [name for name in file.keys() if name.endswith(("proj_out.weight", "embed_tokens.weight"))]  # noqa: SIM118
    assert len(shared) == 1
    again = transcriber.load(tmp_path, TASK).recogniser.model
    assert again.proj_out.weight is again.get_input_embeddings().weight


def test_a_character_of_several_byte_tokens_is_one_piece(checkpoints: dict[str, Path]) -> None:
    tokens: Tokens = created(options(checkpoints["whisper"])).recogniser.tokens
    numbers = tokens.encode("a灯。")
    assert len(numbers) == 7
    assert tokens.written(numbers) == [("a", [0]), ("灯", [1, 2, 3]), ("。", [4, 5, 6])]
    assert tokens.written(numbers[:-1]) == [("a", [0]), ("灯", [1, 2, 3])]


def test_a_clip_of_any_length_gets_an_answer(checkpoints: dict[str, Path]) -> None:
    inputs = [TASK.input(audio=Audio(np.zeros(samples, np.int16), 8000)) for samples in (0, 1, 200, 30_000)]
    for kind in KINDS:
        model = created(options(checkpoints[kind], max_characters=8)).eval()
        assert len(families.answer(transcriber, model, inputs)) == len(inputs)


def test_the_base_digest_names_the_pretrained_bytes(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(checkpoints["wav2vec2"], tmp_path / "base")
    before = transcriber.base_digest(options(base))
    (base / "note.txt").write_text("changed")
    assert before != transcriber.base_digest(options(base))


def test_a_hub_id_without_revision_is_refused() -> None:
    with pytest.raises(InputError, match="revision"):
        transcriber.base_digest(options("openai/whisper-small"))


@pytest.mark.parametrize(
    ("kind", "broken", "message"),
    [
        ("wav2vec2", {"remove": ("vocab.json", "tokenizer_config.json")}, "no tokenizer"),
        ("parakeet", {"remove": ("tokenizer.json",)}, "no tokenizer"),
        ("wav2vec2", {"remove": ("preprocessor_config.json",)}, "no feature extractor"),
        ("wav2vec2", {"remove": ("model.safetensors",)}, "weights cannot be read"),
        ("wav2vec2", {"change": {"num_hidden_layers": 2}}, "lacks weights"),
        ("whisper", {"change": {"model_type": "bert"}}, "no recogniser of speech"),
        ("whisper", {"change": {"model_type": "moonshine"}}, "no recogniser of speech"),
        ("whisper", {"change": {"model_type": "of_my_own"}}, "configuration cannot be read"),
    ],
)
def test_an_unusable_checkpoint_is_refused_with_the_reason(
    kind: str, broken: dict[str, object], message: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    for name in broken.get("remove", ()):  # type: ignore[attr-defined]
        (base / name).unlink()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, **broken.get("change", {})}))  # type: ignore[dict-item]
    with pytest.raises(InputError, match=message):
        created(options(base))


def test_transcripts_that_the_tokenizer_cannot_write_are_refused(checkpoints: dict[str, Path]) -> None:
    inputs, _ = clips()
    cantonese = [TASK.target.model_validate({"text": text}) for text in ("路燈", "冇水", "噪音", "唔該")]
    with pytest.raises(InputError, match="does not know the characters") as refusal:
        transcriber.create(options(checkpoints["wav2vec2"]), TASK, None, inputs, cantonese)
    assert "vocabulary: corpus" in str(refusal.value)


def test_whisper_takes_no_new_vocabulary(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="keeps its own vocabulary"):
        created(options(checkpoints["whisper"], vocabulary="corpus"))


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_a_base_that_is_not_prompted_is_told_no_language(kind: str, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="told its language"):
        created(options(checkpoints[kind], language="zh"))


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_an_adapter_is_merged_verified_and_its_version_needs_no_base(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    model = trained(options(base, adapter={"rank": 4}), steps=40)
    learnt = {name for name, each in model.recogniser.model.named_parameters() if each.requires_grad}
    assert learnt and all("lora_" in name or name.startswith("lm_head") for name in learnt)
    inputs, targets = clips()
    before = texts_of(families.answer(transcriber, model, inputs))
    figures = transcriber.finish(model, inputs, targets)
    assert figures["merge/top1_agreement"] == 1.0
    assert figures["merge/max_logit_difference"] < 1e-3
    (tmp_path / "saved").mkdir()
    transcriber.save(model, tmp_path / "saved")
    shutil.rmtree(base)
    assert (tmp_path / "saved" / "merge.json").is_file()
    again = transcriber.load(tmp_path / "saved", TASK)
    assert texts_of(families.answer(transcriber, again, inputs)) == before


def test_a_recogniser_takes_no_adapter_that_stays_apart() -> None:
    with pytest.raises(ValueError, match="lora or dora, merged"):
        options("base", adapter={"merge": False})
