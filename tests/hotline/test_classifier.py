"""The classifier family: from texts to answers, saved and loaded, from scratch and from a pretrained folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline import families
from hotline.errors import InputError, IntegrityError
from hotline.families import classifier, graphs, leaves
from hotline.families.classifier_options import ClassifierOptions
from hotline.families.ngrams import count
from hotline.labels import LabelTree
from hotline.task import Input, Target
from hotline.tasks import find

TASK = find("ticket_category")
LEAVES = ("城建/路灯", "城建/道路", "环保/噪声", "环保/污水")
PHRASES = {
    "城建/路灯": ("路灯不亮", "灯杆倒了", "夜里没有灯"),
    "城建/道路": ("路面坑洼", "井盖破损", "道路塌陷"),
    "环保/噪声": ("夜间施工吵", "广场舞太响", "喇叭扰民"),
    "环保/污水": ("污水横流", "下水道堵了", "河水发臭"),
}
SCRATCH = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 16, "minimum_texts": 1, "bucket_bits": 16})


def ticket(text: str) -> Input:
    return TASK.input.model_validate({"text": text})


def category(label: str) -> Target:
    return TASK.target.model_validate({"label": label})


def corpus() -> tuple[list[Input], list[Target]]:
    pairs = [(f"{place}{phrase}", leaf) for leaf, said in PHRASES.items() for phrase in said for place in "东西南北"]
    return [ticket(text) for text, _ in pairs], [category(leaf) for _, leaf in pairs]


def trained(options: ClassifierOptions = SCRATCH, steps: int = 60, rate: float = 0.05) -> classifier.Classifier:
    torch.manual_seed(1)
    inputs, targets = corpus()
    model = classifier.create(options, TASK, LabelTree.of(LEAVES), inputs, targets)
    optimiser = torch.optim.AdamW(classifier.parameter_groups(model, rate, 0.0))
    model.train()
    for _ in range(steps):
        loss = classifier.loss(model, classifier.prepare(model, inputs, targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def labels_of(model: classifier.Classifier, inputs: list[Input]) -> list[str]:
    return [answer.target.label for answer in families.answer(classifier, model, inputs)]  # type: ignore[arg-type]


def test_it_learns_what_the_words_say() -> None:
    inputs, targets = corpus()
    model = trained()
    assert labels_of(model, inputs) == [target.label for target in targets]
    assert labels_of(model, [ticket("我家门口的路灯又不亮了")]) == ["城建/路灯"]


def test_segmented_and_raw_text_are_the_same_text() -> None:
    model = trained()
    [segmented], [raw] = (
        families.answer(classifier, model, [ticket(text)]) for text in ("门口 路灯 不亮", "门口路灯不亮")
    )
    assert segmented == raw


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    model = trained()
    inputs, _ = corpus()
    together = families.answer(classifier, model, inputs)
    alone = [families.answer(classifier, model, [one])[0] for one in inputs]
    assert [a.target for a in together] == [a.target for a in alone]
    assert [a.confidence for a in together] == pytest.approx([a.confidence for a in alone], abs=1e-6)


def test_confidence_and_alternatives_are_probabilities_best_first() -> None:
    [answer] = families.answer(classifier, trained(), [ticket("路面有个大坑")])
    shares = [answer.confidence, *(share for _, share in answer.alternatives)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_a_saved_model_answers_the_same_and_holds_no_pickle(tmp_path: Path) -> None:
    model = trained()
    classifier.save(model, tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    inputs, _ = corpus()
    again = classifier.load(tmp_path, TASK)
    assert families.answer(classifier, again, inputs) == families.answer(classifier, model, inputs)


def test_a_model_of_another_declaration_is_refused(tmp_path: Path) -> None:
    classifier.save(trained(steps=1), tmp_path)
    declaration = tmp_path / leaves.DECLARATION_FILE
    declaration.write_text(declaration.read_text().replace("20000", "30000"))
    with pytest.raises(IntegrityError, match="another declaration"):
        classifier.load(tmp_path, TASK)


def test_members_are_averaged_saved_and_loaded(tmp_path: Path) -> None:
    model = trained(ClassifierOptions.model_validate({**SCRATCH.root.model_dump(), "members": 3}))
    inputs, targets = corpus()
    assert labels_of(model, inputs) == [target.label for target in targets]
    classifier.save(model, tmp_path)
    again = classifier.load(tmp_path, TASK)
    assert again.members == 3
    assert families.answer(classifier, again, inputs) == families.answer(classifier, model, inputs)


def test_text_without_any_known_ngram_still_gets_an_answer() -> None:
    [answer] = families.answer(classifier, trained(), [ticket("zzzz qqqq")])
    assert 0 < answer.confidence < 1


def test_calibration_lowers_the_cross_entropy_and_keeps_the_answers() -> None:
    model = trained(steps=200)
    inputs, targets = corpus()
    for head in model.heads:
        head.weight.data *= 0.05  # far too unsure
    before, said = float(_cross_entropy(model)), labels_of(model, inputs)
    figures = classifier.finish(model, inputs, targets)
    assert figures["validation/temperature"] < 1
    assert float(_cross_entropy(model)) < before
    assert labels_of(model, inputs) == said


def _cross_entropy(model: classifier.Classifier) -> torch.Tensor:
    inputs, targets = corpus()
    batch = classifier.prepare(model, inputs, targets)
    with torch.inference_mode():
        return torch.nn.functional.nll_loss(classifier.forward(model, batch), batch["target"])


def test_a_tree_of_thousands_of_leaves_fits() -> None:
    leaves = [f"{a}/{b}/{c}" for a in range(15) for b in range(18) for c in range(15)]
    inputs = [ticket(f"事项{leaf}号") for leaf in leaves]
    model = classifier.create(SCRATCH, TASK, LabelTree.of(leaves), inputs, [category(leaf) for leaf in leaves])
    assert len(leaves) > 4000
    assert len(families.answer(classifier, model.eval(), inputs[:3])) == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=0, max_size=40), min_size=1, max_size=5))
def test_counting_agrees_with_counting_by_hand(texts: list[str]) -> None:
    from hotline.text import normalise

    options = SCRATCH.root
    counted = count(texts, options)  # type: ignore[arg-type]
    for number, text in enumerate(texts):
        length = len(normalise(text))
        ngrams = sum(max(0, length - order + 1) for order in range(1, options.longest + 1))  # type: ignore[union-attr]
        total = counted.value[counted.offset[number] : counted.offset[number + 1]].sum()
        assert total == 2 * ngrams  # shorter than the lead: every n-gram counts twice


@pytest.fixture(scope="module")
def tiny_bert(bert_of: Callable[..., Path]) -> Path:
    return bert_of("".join([*(phrase for said in PHRASES.values() for phrase in said), "东西南北"]))


def test_a_pretrained_encoder_from_a_folder_is_fine_tuned_saved_and_loaded(tiny_bert: Path, tmp_path: Path) -> None:
    options = ClassifierOptions.model_validate({"encoder": "pretrained", "base": str(tiny_bert), "max_tokens": 32})
    model = trained(options, steps=80, rate=3e-3)
    inputs, targets = corpus()
    said = labels_of(model, inputs)
    assert sum(a == b.label for a, b in zip(said, targets, strict=True)) / len(said) > 0.9
    classifier.save(model, tmp_path)
    assert labels_of(classifier.load(tmp_path, TASK), inputs) == said


@pytest.mark.parametrize("encoder", ["ngrams of three members", "pretrained"])
def test_as_a_graph_it_answers_the_same_for_any_rows_and_lengths(encoder: str, tiny_bert: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed: make setup")
    from training.export import write_graph

    chosen: dict[str, object] = {**SCRATCH.root.model_dump(), "members": 3}
    if encoder == "pretrained":
        chosen = {"encoder": "pretrained", "base": str(tiny_bert), "max_tokens": 32}
    model = trained(ClassifierOptions.model_validate(chosen), steps=5)
    inputs = [*corpus()[0], ticket("路灯不亮" * 30), ticket("zz"), ticket("路面坑洼，井盖破损")]
    classifier.save(model, tmp_path)
    write_graph(classifier, model, inputs[:3], tmp_path / graphs.GRAPH_FILE)
    graph = classifier.load(tmp_path, TASK)
    for rows in (1, 4, 64):
        torchs, graphs_ = (families.answer(classifier, each, inputs, rows) for each in (model, graph))  # type: ignore[arg-type]
        assert [a.target for a in torchs] == [a.target for a in graphs_]
        assert [a.confidence for a in torchs] == pytest.approx([a.confidence for a in graphs_], abs=1e-5)


def test_the_base_digest_names_the_pretrained_bytes(tiny_bert: Path) -> None:
    options = ClassifierOptions.model_validate({"encoder": "pretrained", "base": str(tiny_bert)})
    before = classifier.base_digest(options)
    (tiny_bert / "note.txt").write_text("changed")
    assert classifier.base_digest(options) != before
    assert classifier.base_digest(SCRATCH) is None


def test_a_hub_id_without_revision_is_refused() -> None:
    options = ClassifierOptions.model_validate({"encoder": "pretrained", "base": "hfl/chinese-macbert-base"})
    with pytest.raises(InputError, match="revision"):
        classifier.base_digest(options)
