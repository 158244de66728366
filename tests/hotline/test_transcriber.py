"""The transcriber family on words that are tones: architectures, dialects, saving, and batches that do not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from hotline import families
from hotline.audio import Audio
from hotline.errors import HotlineError, IntegrityError
from hotline.families import hearing, recognisers, transcriber
from hotline.families.recognisers import Heard
from hotline.families.spoken_answers import segments
from hotline.families.transcriber import Transcriber
from hotline.families.transcriber_options import TranscriberOptions
from hotline.task import Answer, Input, Target
from hotline.tasks import find

TRANSCRIPTION, DIALECT = find("transcription"), find("dialect_identification")
RATE = 8000
RATE_OF_LEARNING = 6e-3
HERTZ = {"甲": 400, "乙": 800, "丙": 1500, "丁": 2700}
LOW = 0.85
"""Pitch of the other dialect."""
WORD, GAP, PAUSE = 0.12, 0.1, 0.4
"""Seconds of a word, of the silence after it, and of the longer one after a full stop."""
NO_AUGMENTATION = {"speed": [1.0], "mask_bands": 0, "mask_times": 0}
TINY = {"mel_bins": 24, "width": 32, "heads": 2, "dropout": 0.0, "augmentation": NO_AUGMENTATION}
CTC = {"architecture": "ctc", "layers": 1, "stem_channels": 16, **TINY}
SEQUENCE = {"architecture": "sequence", "layers": 1, "longest_seconds": 2.2, "max_characters": 12, **TINY}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE))


def spoken(text: str, pitch: float = 1.0, noise: float = 40.0) -> Audio:
    """Every word a tone, every full stop a pause."""
    parts = [silence(GAP)]
    for character in text:
        if character == "。":
            parts.append(silence(PAUSE - GAP))
        else:
            phase = 2 * np.pi * pitch * HERTZ[character] * np.arange(int(WORD * RATE)) / RATE
            parts += [8000 * np.sin(phase), silence(GAP)]
    samples = np.concatenate(parts)
    return Audio((samples + np.random.default_rng(len(text)).normal(0, noise, len(samples))).astype(np.int16), RATE)


def call(text: str, pitch: float = 1.0) -> Input:
    return TRANSCRIPTION.input.model_validate({"audio": spoken(text, pitch)})


def transcript(text: str, dialect: str = "unknown") -> Target:
    return TRANSCRIPTION.target.model_validate({"text": text, "dialect": dialect})


def sentences(count: int, seed: int = 0) -> list[str]:
    """One or two sentences of one to three words."""
    draw = np.random.default_rng(seed)

    def sentence() -> str:
        return "".join(draw.choice(list(HERTZ), int(draw.integers(1, 4)))) + "。"

    return ["".join(sentence() for _ in range(int(draw.integers(1, 3)))) for _ in range(count)]


def options(described: dict[str, object], **changed: object) -> TranscriberOptions:
    return TranscriberOptions.model_validate({**described, **changed})


def created(described: TranscriberOptions, texts: Sequence[str] = ("甲乙。丙丁。",)) -> Transcriber:
    torch.manual_seed(0)
    return transcriber.create(
        described, TRANSCRIPTION, None, [call(text) for text in texts], [transcript(text) for text in texts]
    )


def trained(model: Transcriber, inputs: Sequence[Input], targets: Sequence[Target], steps: int) -> Transcriber:
    optimiser = torch.optim.AdamW(transcriber.parameter_groups(model, RATE_OF_LEARNING, 0.0))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE_OF_LEARNING, steps, pct_start=0.2)
    draw = np.random.default_rng(0)
    model.train()
    for _ in range(steps):
        rows = draw.permutation(len(inputs))[:16]
        batch = transcriber.prepare(model, [inputs[row] for row in rows], [targets[row] for row in rows])
        loss = transcriber.loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


@pytest.fixture(scope="module")
def ctc_model() -> Transcriber:
    """Learnt to write the four words, and that the low voice is Cantonese."""
    torch.manual_seed(0)
    inputs, targets = corpus(sentences(400))
    return trained(transcriber.create(options(CTC), TRANSCRIPTION, None, inputs, targets), inputs, targets, steps=400)


def corpus(texts: Sequence[str]) -> tuple[list[Input], list[Target]]:
    """Every other clip in a low voice, whose dialect is another."""
    low = [number % 2 == 1 for number in range(len(texts))]
    inputs = [call(text, LOW if each else 1.0) for text, each in zip(texts, low, strict=True)]
    return inputs, [transcript(text, "yue" if each else "cmn") for text, each in zip(texts, low, strict=True)]


@pytest.fixture(scope="module")
def sequence_model() -> Transcriber:
    """Learnt sixteen clips by heart."""
    texts = sentences(16)
    inputs, targets = [call(text) for text in texts], [transcript(text) for text in texts]
    return trained(created(options(SEQUENCE), texts), inputs, targets, steps=120)


def texts_of(answers: Sequence[Answer]) -> list[str]:
    return [answer.target.text for answer in answers]  # type: ignore[attr-defined]


def said(model: Transcriber, inputs: Sequence[Input]) -> list[str]:
    return texts_of(families.answer(transcriber, model, inputs))


def test_ctc_learns_to_write_sentences_it_never_heard(ctc_model: Transcriber) -> None:
    unseen = [text for text in sentences(40, seed=1) if text not in sentences(400)][:12]
    right = sum(a == b for a, b in zip(said(ctc_model, [call(text) for text in unseen]), unseen, strict=True))
    assert right >= 10


def test_ctc_gives_every_sentence_its_own_segment_with_its_times(ctc_model: Transcriber) -> None:
    text = next(text for text in sentences(400)[::2] if text.count("。") == 2)
    words = text.index("。")
    [answer] = families.answer(transcriber, ctc_model, [call(text)])
    first, second = answer.target.segments  # type: ignore[attr-defined]
    assert (first.text, second.text) == (text[: words + 1], text[words + 1 :])
    assert first.start_seconds == pytest.approx(GAP, abs=0.15)
    assert second.start_seconds == pytest.approx(words * (WORD + GAP) + PAUSE, abs=0.15)
    assert first.end_seconds <= second.start_seconds < second.end_seconds <= spoken(text).seconds
    assert all(0.5 < segment.confidence <= 1 for segment in (first, second))


def test_a_sequence_model_writes_what_it_learnt_by_heart(sequence_model: Transcriber) -> None:
    texts = sentences(16)
    assert said(sequence_model, [call(text) for text in texts]) == texts


def test_a_sequence_model_knows_no_times_and_says_the_whole_clip(sequence_model: Transcriber) -> None:
    [text] = [text for text in sentences(16) if text.count("。") == 2][:1]
    [answer] = families.answer(transcriber, sequence_model, [call(text)])
    bounds = {(segment.start_seconds, segment.end_seconds) for segment in answer.target.segments}  # type: ignore[attr-defined]
    [(start, end)] = bounds
    assert start == 0
    assert end == pytest.approx(spoken(text).seconds, abs=1e-3)
    assert "".join(segment.text for segment in answer.target.segments) == text  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["ctc_model", "sequence_model"])
def test_a_saved_transcriber_answers_the_same_and_holds_no_pickle(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = request.getfixturevalue(name)
    transcriber.save(model, tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    inputs = [call(text) for text in sentences(4, seed=2)]
    for task in (TRANSCRIPTION, DIALECT):
        again, model.task = transcriber.load(tmp_path, task), task
        assert families.answer(transcriber, again, inputs) == families.answer(transcriber, model, inputs)
    model.task = TRANSCRIPTION


@pytest.mark.parametrize("name", ["ctc_model", "sequence_model"])
def test_a_clip_is_heard_alike_alone_and_beside_a_longer_one(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    short, long = call("丙。"), call("甲乙丁。丙甲。")
    [alone] = families.answer(transcriber, model, [short])
    [beside, _] = families.answer(transcriber, model, [short, long])
    assert beside.target == alone.target or texts_of([beside]) == texts_of([alone])
    assert beside.confidence == pytest.approx(alone.confidence, abs=1e-4)


@pytest.mark.parametrize("name", ["ctc_model", "sequence_model"])
def test_a_beam_gives_different_readings_the_best_one_first(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    text = sentences(16)[0]
    [greedy] = families.answer(transcriber, model, [call(text)])
    narrow, model.options = model.options, options(model.options.root.model_dump(), beams=4)
    [answer] = families.answer(transcriber, model, [call(text)])
    model.options = narrow
    readings = texts_of([answer]) + [target.text for target, _ in answer.alternatives]  # type: ignore[attr-defined]
    assert readings[0] == texts_of([greedy])[0] == text
    assert 2 <= len(set(readings)) == len(readings) <= 4
    assert answer.confidence > max(share for _, share in answer.alternatives)


def test_a_clip_of_any_length_gets_an_answer(ctc_model: Transcriber, sequence_model: Transcriber) -> None:
    clips = [Audio(np.zeros(samples, np.int16), RATE) for samples in (0, 1, 200, 20_000)]
    for model in (ctc_model, sequence_model):
        answers = families.answer(transcriber, model, [TRANSCRIPTION.input(audio=clip) for clip in clips])
        assert len(answers) == len(clips)


def test_a_wideband_recording_is_understood_too(ctc_model: Transcriber) -> None:
    wideband = TRANSCRIPTION.input.model_validate({"audio": spoken("乙丁。").at(16000)})
    assert said(ctc_model, [wideband]) == ["乙丁。"]


def test_the_state_of_forward_is_tensors_only(ctc_model: Transcriber, sequence_model: Transcriber) -> None:
    for model in (ctc_model, sequence_model):
        with torch.inference_mode():
            state = transcriber.forward(model, transcriber.prepare(model, [call("甲。")]))
        values = [*state.pop("text").values(), *state.values()]
        assert all(isinstance(value, torch.Tensor) for value in values)


def as_dialects(model: Transcriber, inputs: Sequence[Input]) -> list[Answer]:
    model.task = DIALECT
    try:
        return families.answer(transcriber, model, inputs)
    finally:
        model.task = TRANSCRIPTION


def test_the_same_model_tells_the_dialect_with_probabilities(ctc_model: Transcriber) -> None:
    texts = sentences(12, seed=3)
    answers = as_dialects(ctc_model, [*(call(text) for text in texts), *(call(text, LOW) for text in texts)])
    tags = [answer.target.label for answer in answers]  # type: ignore[attr-defined]
    right = sum(tag == true for tag, true in zip(tags, ["cmn"] * 12 + ["yue"] * 12, strict=True))
    assert right >= 20
    for answer in answers:
        assert answer.confidence + sum(share for _, share in answer.alternatives) == pytest.approx(1, abs=1e-5)


def test_below_its_floor_the_dialect_is_unknown(ctc_model: Transcriber) -> None:
    [sure] = as_dialects(ctc_model, [call("甲。")])
    floor = ctc_model.dialect_floor.clone()
    ctc_model.dialect_floor.fill_(1.1)
    [unsure] = as_dialects(ctc_model, [call("甲。")])
    [written] = families.answer(transcriber, ctc_model, [call("甲。")])
    ctc_model.dialect_floor.copy_(floor)
    assert unsure.target.label == written.target.dialect == "unknown"  # type: ignore[attr-defined]
    assert unsure.confidence == pytest.approx(1 - sure.confidence)
    assert unsure.alternatives[0][0] == sure.target
    assert unsure.confidence + sum(share for _, share in unsure.alternatives) == pytest.approx(1)


def test_the_floor_keeps_nearly_all_dialects_that_were_told_rightly(ctc_model: Transcriber) -> None:
    before = ctc_model.dialect_floor.clone()
    inputs, targets = corpus(sentences(40, seed=4))
    tags = [answer.target.label for answer in as_dialects(ctc_model, inputs)]  # type: ignore[attr-defined]
    figures = transcriber.finish(ctc_model, inputs, targets)
    after = [answer.target.label for answer in as_dialects(ctc_model, inputs)]  # type: ignore[attr-defined]
    ctc_model.dialect_floor.copy_(before)
    right = [(a, b) for a, b, target in zip(tags, after, targets, strict=True) if a == target.dialect]  # type: ignore[attr-defined]
    assert 0.5 < figures["validation/dialect_floor"] < 1
    assert 0.9 <= sum(a == b for a, b in right) / len(right) < 1


def test_clips_without_a_known_dialect_teach_none_and_still_pass_through_every_layer() -> None:
    model = created(options(CTC), ["甲。", "乙。"])
    batch = transcriber.prepare(model, [call("甲。")], [transcript("甲。")])
    transcriber.loss(model.train(), batch).backward()
    assert model.dialect_head.weight.grad is not None
    assert not model.dialect_head.weight.grad.any()


def test_a_task_without_text_learns_the_dialect_alone() -> None:
    inputs, targets = corpus(sentences(16))
    tags = [DIALECT.target.model_validate({"label": target.dialect}) for target in targets]  # type: ignore[attr-defined]
    model = transcriber.create(options(CTC), DIALECT, None, inputs, tags)
    trained(model, inputs, tags, steps=40)
    assert [answer.target for answer in families.answer(transcriber, model, inputs)] == tags


@pytest.mark.parametrize("described", [CTC, SEQUENCE, {"architecture": "ctc"}, {"architecture": "sequence"}])
def test_a_fresh_encoder_reacts_to_what_it_hears(described: dict[str, object]) -> None:
    assert hearing.sensitivity(created(options(described)).recogniser) > 0.015


@pytest.mark.parametrize("described", [CTC, {"architecture": "ctc"}])
def test_an_encoder_with_the_initialisation_of_transformers_is_refused_before_training(
    described: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognisers, "reinitialise", lambda model: None)
    with pytest.raises(HotlineError, match="does not react") as refusal:
        created(options(described))
    assert "at least 0.01" in str(refusal.value)


def test_a_deaf_encoder_is_refused() -> None:
    ctc, sequence = (created(options(described)).recogniser for described in (CTC, SEQUENCE))
    for layer in (ctc.encoder.subsampling.linear, sequence.model.get_encoder().conv1):
        torch.nn.init.zeros_(layer.weight)
    for recogniser in (ctc, sequence):
        assert hearing.sensitivity(recogniser) < 1e-6
        with pytest.raises(HotlineError, match="does not react"):
            hearing.refuse_deaf(recogniser)


def augmented(model: Transcriber, inputs: Sequence[Input], seeds: Sequence[int]) -> dict[str, torch.Tensor]:
    return dict(transcriber.prepare(model, inputs, draws=[np.random.default_rng(seed) for seed in seeds]))


@pytest.mark.parametrize("described", [CTC, SEQUENCE])
def test_augmentation_depends_on_the_rows_own_draw_and_not_on_the_batch(described: dict[str, object]) -> None:
    model = created(options(described, augmentation={"speed": [0.8, 1.2], "mask_bands": 2, "mask_times": 4}))
    alone = augmented(model, [call("甲乙。")], [7])
    beside = augmented(model, [call("丙丁甲。乙。"), call("甲乙。")], [3, 7])
    frames = int(alone["mask_BF"][0].sum())
    assert frames == int(beside["mask_BF"][1].sum())
    assert torch.allclose(alone["features_BFM"][0, :frames], beside["features_BFM"][1, :frames], atol=1e-2)
    assert not torch.equal(alone["features_BFM"], augmented(model, [call("甲乙。")], [8])["features_BFM"])


def test_without_draws_nothing_is_augmented() -> None:
    plain = transcriber.prepare(created(options(CTC)), [call("甲乙。")])
    strong = {"speed": [1.4], "mask_bands": 8, "mask_times": 20}
    unchanged = transcriber.prepare(created(options(CTC, augmentation=strong)), [call("甲乙。")])
    assert torch.equal(plain["features_BFM"], unchanged["features_BFM"])


def test_a_character_outside_the_vocabulary_is_left_out_and_case_does_not_matter() -> None:
    torch.manual_seed(0)
    model = transcriber.create(options(CTC), TRANSCRIPTION, None, [call("甲")], [transcript("Ab c")])
    assert model.recogniser.labels(["A  bX", ""]).shape == (2, 3)
    assert (
        "".join(model.recogniser.characters.character(int(n)) for n in model.recogniser.labels(["A  bX"])[0]) == "a b"
    )


def test_a_sequence_models_labels_end_and_are_cut_to_its_length() -> None:
    model = created(options(SEQUENCE))
    labels_BU = model.recogniser.labels(["甲" * 100, "甲"])
    assert labels_BU.shape == (2, 13)
    assert labels_BU[0, -1] == labels_BU[1, 1] == 2
    assert (labels_BU[1, 2:] == -100).all()


def test_sentences_break_after_their_mark_but_not_within_a_number() -> None:
    pieces = tuple((mark, 0.1 * n, 0.1 * n + 0.1, 0.9) for n, mark in enumerate("it is 3.5. no! 好。行？"))
    found = segments(Heard(pieces, 0.9), seconds=1.85)
    assert [segment["text"] for segment in found] == ["it is 3.5.", "no!", "好。", "行？"]
    assert found[1]["start_seconds"] == pytest.approx(1.1)  # the blank before belongs to neither sentence
    assert max(segment["end_seconds"] for segment in found) == 1.85


def test_a_model_for_another_input_is_refused(tmp_path: Path) -> None:
    transcriber.save(created(options(CTC)), tmp_path)
    declaration = tmp_path / transcriber.DECLARATION_FILE
    declaration.write_text(declaration.read_text().replace("The recording", "A picture"))
    with pytest.raises(IntegrityError, match="another declaration"):
        transcriber.load(tmp_path, TRANSCRIPTION)
