"""Recognisers whose language model writes the transcript: tiny random checkpoints of Qwen3-ASR and Fun-ASR-Nano."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hotline import families
from hotline.audio import Audio, tone
from hotline.errors import InputError
from hotline.families import transcriber
from hotline.families.recognisers import IGNORED
from hotline.families.transcriber import Transcriber
from hotline.families.transcriber_options import TranscriberOptions
from hotline.task import Answer, Input, Target
from hotline.tasks import find

TINY = runpy.run_path(str(Path(__file__).parents[1] / "random_audio_language_models.py"))
TASK = find("transcription")
CLIPS = {"路灯": 300, "ba c": 700, "冇水 ab": 1500, "ac": 2500}
"""Text, and hertz of the tone that stands for it."""
KINDS = ("qwen3_asr", "fun_asr_nano")
NO_AUGMENTATION = {"speed": [1.0], "mask_bands": 0, "mask_times": 0}


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
    for kind, folder in folders.items():
        TINY[kind](folder, CLIPS)
    return folders


def clips() -> tuple[list[Input], list[Target]]:
    inputs = [TASK.input.model_validate({"audio": tone(0.6, hertz, 8000)}) for hertz in CLIPS.values()]
    return inputs, [TASK.target.model_validate({"text": text}) for text in CLIPS]


def noise(samples: int) -> Input:
    sound = np.random.default_rng(0).normal(0, 3000, samples).astype(np.int16)
    return TASK.input.model_validate({"audio": Audio(sound, 16_000)})


def options(base: Path | str, **changed: object) -> TranscriberOptions:
    described = {"architecture": "pretrained", "base": str(base), "augmentation": NO_AUGMENTATION, "language": "zh"}
    return TranscriberOptions.model_validate({**described, "max_characters": 16, **changed})


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
    assert [path.name for path in (tmp_path / "saved").rglob("*.safetensors")] == ["model.safetensors"]
    again = transcriber.load(tmp_path / "saved", TASK)
    assert families.answer(transcriber, again, inputs) == answers
    assert again.recogniser.prompt == model.recogniser.prompt


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_in_the_language_model_alone_and_merged_as_it_answered(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    model = trained(options(base, adapter={"rank": 8}), steps=60)
    learnt = {name for name, each in model.recogniser.named_parameters() if each.requires_grad}
    assert learnt and all(name.startswith("model.model.language_model.layers") and "lora_" in name for name in learnt)
    inputs, targets = clips()
    before = texts_of(families.answer(transcriber, model, inputs))
    figures = transcriber.finish(model, inputs, targets)
    assert figures["merge/top1_agreement"] == figures["merge/texts_alike"] == 1.0
    assert figures["merge/max_logit_difference"] < 1e-3
    (tmp_path / "saved").mkdir()
    transcriber.save(model, tmp_path / "saved")
    shutil.rmtree(base)
    again = transcriber.load(tmp_path / "saved", TASK)
    assert texts_of(families.answer(transcriber, again, inputs)) == before


@pytest.mark.parametrize("kind", KINDS)
def test_symbols_are_scored_as_the_base_scores_them_after_its_own_prompt(
    kind: str, checkpoints: dict[str, Path]
) -> None:
    recogniser = created(options(checkpoints[kind])).eval().recogniser
    wave_T = noise(20_000).audio.samples.astype(np.float32) / 32768  # type: ignore[attr-defined]
    text, end = "路灯 ab", recogniser.processor.tokenizer.eos_token
    given = recogniser.processor(text=[recogniser.prompt + text + end], audio=[wave_T])
    with torch.inference_mode():
        theirs = recogniser.model(**given).logits[0]
        encoded = recogniser.encode(recogniser.features([wave_T, wave_T[:9000]]))
        labels_BU = recogniser.labels([text, ""])
        ours = recogniser.scored(encoded.hidden_BLD, encoded.mask_BL, labels_BU)
    symbols = len(recogniser.tokens.encode(text)) + 1
    assert labels_BU[0].tolist() == given["input_ids"][0, -symbols:].tolist()
    assert len(ours) == symbols + 1, "the text and its end, and the end of the clip without one"
    assert torch.allclose(ours[:symbols], theirs[-symbols - 1 : -1], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 2])
def test_a_reading_is_scored_as_its_symbols_are(kind: str, beams: int, checkpoints: dict[str, Path]) -> None:
    recogniser = created(options(checkpoints[kind])).eval().recogniser
    waves = [noise(samples).audio.samples.astype(np.float32) / 32768 for samples in (20_000, 9_000)]  # type: ignore[attr-defined]
    with torch.inference_mode():
        encoded = recogniser.encode(recogniser.features(waves))
        state = recogniser.readings(encoded.hidden_BLD, encoded.mask_BL, beams)
        best_BU, score_BU = state["token_BNU"][:, 0], state["score_BNU"][:, 0]
        after_end_BU = (best_BU == recogniser.end).cumsum(1) - (best_BU == recogniser.end).int() > 0
        labels_BU = best_BU.masked_fill(after_end_BU, IGNORED)
        logits = recogniser.scored(encoded.hidden_BLD, encoded.mask_BL, labels_BU)
    said = labels_BU != IGNORED
    symbols = labels_BU[said]
    assert len(symbols) > len(waves), "something is said"
    assert torch.allclose(score_BU[said], logits.log_softmax(-1)[range(len(symbols)), symbols], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_heard_alike_alone_and_beside_a_longer_one(kind: str, checkpoints: dict[str, Path]) -> None:
    model = created(options(checkpoints[kind])).eval()
    short, long = noise(16_234), noise(30_000)
    with torch.inference_mode():
        alone = transcriber.forward(model, transcriber.prepare(model, [short]))
        beside = transcriber.forward(model, transcriber.prepare(model, [short, long]))
    assert torch.allclose(alone["dialect_BK"], beside["dialect_BK"][:1], atol=1e-5)
    length = min(alone["text"]["token_BNU"].shape[2], beside["text"]["token_BNU"].shape[2])
    for name, state in alone["text"].items():
        assert torch.allclose(state[0, :, :length], beside["text"][name][0, :, :length], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_is_drawn_by_the_row(kind: str, checkpoints: dict[str, Path]) -> None:
    strong = {"speed": [1.0], "mask_bands": 2, "mask_times": 20}
    model = created(options(checkpoints[kind], augmentation=strong))
    plain, first, again, other = (
        transcriber.prepare(model, [noise(16_000)], draws=draws)["sound_BTM"]
        for draws in (None, *([np.random.default_rng(seed)] for seed in (1, 1, 2)))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    hidden = (first - plain).abs() > 1e-4
    assert 0.05 < hidden.float().mean() < 0.95
    assert torch.allclose(first[hidden], plain[plain != 0].mean(), atol=0.2), "hidden sound is neither loud nor silent"


@pytest.mark.parametrize("kind", KINDS)
def test_beams_give_different_readings(kind: str, checkpoints: dict[str, Path]) -> None:
    model = created(options(checkpoints[kind], beams=3, max_characters=8)).eval()
    for answer in families.answer(transcriber, model, clips()[0][:2]):
        readings = [*texts_of([answer]), *(target.text for target, _ in answer.alternatives)]  # type: ignore[attr-defined]
        assert len(set(readings)) == len(readings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_of_any_length_gets_an_answer(kind: str, checkpoints: dict[str, Path]) -> None:
    inputs = [TASK.input(audio=Audio(np.zeros(samples, np.int16), 8000)) for samples in (0, 1, 200, 8000, 1_040_000)]
    model = created(options(checkpoints[kind], max_characters=8)).eval()
    assert len(families.answer(transcriber, model, inputs)) == len(inputs)


def test_a_language_that_the_base_names_before_the_text_is_not_part_of_it(checkpoints: dict[str, Path]) -> None:
    recogniser = created(options(checkpoints["qwen3_asr"], language=None)).recogniser
    assert recogniser.prompt.endswith("assistant\n")
    numbers = [*recogniser.tokens.encode("language Chinese<asr_text>路灯坏了"), recogniser.end]
    state = {"token_BNU": torch.tensor([[numbers]]), "score_BNU": torch.zeros(1, 1, len(numbers))}
    [[heard]] = recogniser.decode(state, [1.0], 1)
    assert heard.text == "路灯坏了"


def test_the_prompt_names_the_language_in_the_words_of_the_base(checkpoints: dict[str, Path]) -> None:
    asked = {kind: created(options(checkpoints[kind])).recogniser.prompt for kind in KINDS}
    assert asked["qwen3_asr"].endswith("language Chinese<asr_text>")
    assert "成中文：" in asked["fun_asr_nano"]


def test_the_filter_bank_is_kaldis() -> None:
    from hotline.families.fun_asr_features import FLOOR, FunAsrNanoFeatureExtractor

    wave_T = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 4321)).float()
    frames = wave_T.unfold(0, 400, 160).double()
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window = torch.hamming_window(400, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft((frames - 0.97 * before) * window, 512).abs().square()

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log(1 + np.asarray(hertz) / 700)

    edges, bins = np.linspace(mel(20), mel(8000), 82), mel(np.arange(257) * 16_000 / 512)
    up = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    expected = (power @ torch.from_numpy(np.minimum(up, down).clip(0))).clamp_min(FLOOR).log().float()
    assert torch.allclose(FunAsrNanoFeatureExtractor()._extract_fbank_features(wave_T), expected, atol=1e-3)


def without(*names: str) -> Callable[[Path], None]:
    return lambda base: [(base / name).unlink() for name in names] and None


def another_template(base: Path) -> None:
    (base / "chat_template.jinja").write_text("{{ messages[0].role }}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("broken", "changed", "message"),
    [
        (without("processor_config.json"), {}, "no processor"),
        (without("tokenizer.json", "tokenizer_config.json"), {}, "no processor"),
        (without("chat_template.jinja"), {}, "no chat template"),
        (another_template, {}, "cannot be asked for a transcript|does not ask for one clip"),
        (without(), {"language": "Klingon"}, "cannot be asked for a transcript"),
        (without(), {"vocabulary": "corpus"}, "keeps its own vocabulary"),
    ],
)
def test_an_unusable_checkpoint_is_refused_with_the_reason(
    kind: str,
    broken: Callable[[Path], None],
    changed: dict[str, object],
    message: str,
    checkpoints: dict[str, Path],
    tmp_path: Path,
) -> None:
    base = shutil.copytree(checkpoints[kind], tmp_path / "base")
    broken(base)
    with pytest.raises(InputError, match=message):
        created(options(base, **changed))
