"""The embedder family: questions find entries by one vector space, entries of later, too; saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hotline import families, labels
from hotline.errors import IntegrityError
from hotline.families import embedder, graphs, leaves
from hotline.families.embedder_options import EmbedderOptions
from hotline.labels import LabelTree
from hotline.task import Input, Target
from hotline.tasks import find
from hotline.wishes import Wish

TASK = find("faq_match")
LATER = "证件/护照怎么办理"
SAID = {
    "证件/身份证丢了怎么补": ("身份证掉了", "补一张身份证", "身份证不见了要重新办"),
    "证件/居住证怎么办理": ("外地人办居住证", "居住证去哪里领", "暂住的证怎么办理"),
    "社保/养老保险怎么补缴": ("养老断缴了", "补交养老保险", "社保停了能补吗"),
    "社保/失业金怎么领": ("被裁员了领失业金", "失业金多少钱", "没工作了有补助吗"),
    labels.NONE: ("天气怎么样", "讲个笑话", "路灯坏了护照盒也丢了", "火车票怎么退"),
}
SCRATCH = EmbedderOptions.model_validate(
    {"encoder": "ngrams", "width": 64, "dimensions": 32, "minimum_texts": 1, "bucket_bits": 16}
)


def question(text: str) -> Input:
    return TASK.input.model_validate({"question": text})


def entry(label: str) -> Target:
    return TASK.target.model_validate({"label": label})


def corpus() -> tuple[list[Input], list[Target]]:
    openings = ("", "请问", "你好")
    pairs = [(opening + phrase, leaf) for leaf, said in SAID.items() for phrase in said for opening in openings]
    return [question(text) for text, _ in pairs], [entry(leaf) for _, leaf in pairs]


def trained(options: EmbedderOptions = SCRATCH, steps: int = 80, rate: float = 0.02) -> embedder.Embedder:
    torch.manual_seed(1)
    inputs, targets = corpus()
    model = embedder.create(options, TASK, LabelTree.of(SAID), inputs, targets)
    optimiser = torch.optim.AdamW(embedder.parameter_groups(model, rate, 0.0))
    model.train()
    for _ in range(steps):
        loss = embedder.loss(model, embedder.prepare(model, inputs, targets))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def learnt() -> embedder.Embedder:
    return trained()


def labels_of(model: embedder.Embedder, inputs: list[Input]) -> list[str]:
    return [answer.target.label for answer in families.answer(embedder, model, inputs)]  # type: ignore[arg-type, attr-defined]


def vectors_of(model: embedder.Embedder, texts: list[str]) -> np.ndarray:
    wishes = [Wish(vector=True)] * len(texts)
    answers = families.answer(embedder, model, [question(text) for text in texts], wishes=wishes)  # type: ignore[arg-type]
    return np.array([answer.vector.values for answer in answers if answer.vector])


def test_it_learns_which_entry_is_meant_and_when_none_is(learnt: embedder.Embedder) -> None:
    inputs, targets = corpus()
    assert labels_of(learnt, inputs) == [target.label for target in targets]  # type: ignore[attr-defined]
    assert labels_of(learnt, [question("我的身份证丢了")]) == ["证件/身份证丢了怎么补"]


def test_an_entry_that_was_added_after_training_is_found_without_more_of_it(learnt: embedder.Embedder) -> None:
    asked = [question("护照怎么办理呢"), question("请问护照怎么办理")]
    assert LATER not in labels_of(learnt, asked)
    more = embedder.with_entries(learnt, LabelTree.of([*SAID, LATER]))
    assert labels_of(more, asked) == [LATER, LATER]
    inputs, targets = corpus()
    same = [a == b.label for a, b in zip(labels_of(more, inputs), targets, strict=True)]  # type: ignore[attr-defined]
    assert sum(same) / len(same) > 0.9


def test_an_entry_that_was_taken_out_is_not_answered(learnt: embedder.Embedder) -> None:
    fewer = embedder.with_entries(learnt, LabelTree.of([leaf for leaf in SAID if leaf != "社保/失业金怎么领"]))
    assert "社保/失业金怎么领" not in labels_of(fewer, corpus()[0])


def test_vectors_have_length_one_whatever_the_text(learnt: embedder.Embedder) -> None:
    made = vectors_of(learnt, ["身份证丢了", "zzzz", "。", "证" * 2000, "路灯"])
    assert made.shape == (5, 32)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-6)


def test_an_entrys_vector_is_that_of_its_own_text(learnt: embedder.Embedder) -> None:
    [own] = vectors_of(learnt, [embedder.entry_text("社保/失业金怎么领")])
    stored = learnt.entry_LD[learnt.tree.index["社保/失业金怎么领"]]
    assert own == pytest.approx(stored.numpy(), abs=1e-6)


def test_a_vector_comes_only_when_it_is_wished_for_and_changes_nothing_else(learnt: embedder.Embedder) -> None:
    asked = [question("失业金多少钱"), question("讲个笑话吧")]
    plain = families.answer(embedder, learnt, asked)  # type: ignore[arg-type]
    wished = families.answer(embedder, learnt, asked, wishes=[Wish(vector=True), Wish()])  # type: ignore[arg-type]
    assert [answer.vector is not None for answer in wished] == [True, False]
    assert not any(answer.vector for answer in plain)
    assert [answer.model_copy(update={"vector": None}) for answer in wished] == plain
    assert wished[0].vector and wished[0].vector.tokens == len("失业金多少钱")


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch(learnt: embedder.Embedder) -> None:
    inputs, _ = corpus()
    together = families.answer(embedder, learnt, inputs)  # type: ignore[arg-type]
    alone = [families.answer(embedder, learnt, [one])[0] for one in inputs]  # type: ignore[arg-type]
    assert [a.target for a in together] == [a.target for a in alone]
    assert [a.confidence for a in together] == pytest.approx([a.confidence for a in alone], abs=1e-6)


def test_confidence_and_alternatives_are_probabilities_best_first(learnt: embedder.Embedder) -> None:
    [answer] = families.answer(embedder, learnt, [question("证件丢了")])  # type: ignore[arg-type]
    shares = [answer.confidence, *(share for _, share in answer.alternatives)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_a_caller_may_have_it_choose_among_branches(learnt: embedder.Embedder) -> None:
    wishes = [Wish(options=("证件", "社保"))]
    [answer] = families.answer(embedder, learnt, [question("身份证掉了")], wishes=wishes)  # type: ignore[arg-type]
    assert answer.target.label == "证件"  # type: ignore[attr-defined]
    assert embedder.abilities(learnt).dimensions == 32


def test_a_large_tree_is_learnt_against_the_entries_of_the_batch_only() -> None:
    options = EmbedderOptions.model_validate({**SCRATCH.root.model_dump(), "entries_at_once": 2})
    inputs, targets = corpus()
    model = embedder.create(options, TASK, LabelTree.of(SAID), inputs, targets)
    batch = embedder.prepare(model, inputs[:2], targets[:2])
    assert [model.tree.leaves[number] for number in batch["class_E"]] == sorted([targets[0].label, labels.NONE])  # type: ignore[attr-defined]
    assert torch.isfinite(embedder.loss(model, batch))
    assert labels_of(trained(options), inputs[:9]) == [target.label for target in targets[:9]]  # type: ignore[attr-defined]


def test_a_tree_without_the_leaf_for_none_always_names_an_entry() -> None:
    pairs = [(text, leaf) for leaf, said in SAID.items() if leaf != labels.NONE for text in said]
    inputs, targets = [question(text) for text, _ in pairs], [entry(leaf) for _, leaf in pairs]
    tree = LabelTree.of(leaf for _, leaf in pairs)
    model = embedder.create(SCRATCH, TASK, tree, inputs, targets).eval()
    assert set(labels_of(model, [question("zzzz"), *inputs])) <= set(tree.leaves)


def test_a_saved_model_answers_the_same_and_holds_no_pickle(learnt: embedder.Embedder, tmp_path: Path) -> None:
    embedder.save(learnt, tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    inputs, _ = corpus()
    again = embedder.load(tmp_path, TASK)
    assert families.answer(embedder, again, inputs) == families.answer(embedder, learnt, inputs)  # type: ignore[arg-type]
    assert (vectors_of(again, ["证件丢了"]) == vectors_of(learnt, ["证件丢了"])).all()


def test_entries_follow_the_weights_after_more_training(learnt: embedder.Embedder) -> None:
    model = embedder.with_entries(learnt, learnt.tree)
    before = vectors_of(model, ["社保\n失业金怎么领"])
    with torch.no_grad():
        model.train().projection.bias += 1.0
    after = vectors_of(model.eval(), ["社保\n失业金怎么领"])
    assert not np.allclose(before, after)
    assert after[0] == pytest.approx(model.entry_LD[model.tree.index["社保/失业金怎么领"]].numpy(), abs=1e-6)


def test_a_model_of_another_declaration_is_refused(learnt: embedder.Embedder, tmp_path: Path) -> None:
    embedder.save(learnt, tmp_path)
    declaration = tmp_path / leaves.DECLARATION_FILE
    declaration.write_text(declaration.read_text().replace("2000", "3000"))
    with pytest.raises(IntegrityError, match="another declaration"):
        embedder.load(tmp_path, TASK)


def test_calibration_keeps_the_answers_and_tells_what_was_learnt() -> None:
    model = trained(steps=30)
    inputs, targets = corpus()
    said = labels_of(model, inputs)
    figures = embedder.finish(model, inputs, targets)
    assert set(figures) == {"validation/temperature", "validation/scale", "validation/cosine_of_none"}
    assert labels_of(model, inputs) == said


def test_a_task_of_labels_may_be_answered_by_an_embedder_and_others_not() -> None:
    assert families.by(find("ticket_category"), "embedder").family == "embedder"
    assert families.by(TASK, "classifier").family == "classifier"
    with pytest.raises(families.InputError, match="embedder cannot answer ticket_summary"):
        families.by(find("ticket_summary"), "embedder")


@pytest.fixture(scope="module")
def tiny_bert(bert_of: Callable[..., Path]) -> Path:
    return bert_of("".join([*SAID, *(phrase for said in SAID.values() for phrase in said), "请问你好"]))


def test_a_pretrained_encoder_is_fine_tuned_saved_and_loaded(tiny_bert: Path, tmp_path: Path) -> None:
    options = EmbedderOptions.model_validate(
        {"encoder": "pretrained", "base": str(tiny_bert), "max_tokens": 16, "dimensions": 16}
    )
    model = trained(options, steps=80, rate=3e-3)
    inputs, targets = corpus()
    said = labels_of(model, inputs)
    assert sum(a == b.label for a, b in zip(said, targets, strict=True)) / len(said) > 0.9  # type: ignore[attr-defined]
    embedder.save(model, tmp_path)
    again = embedder.load(tmp_path, TASK)
    assert labels_of(again, inputs) == said
    wished = families.answer(embedder, again, [question("身份证" * 20)], wishes=[Wish(vector=True)])  # type: ignore[arg-type]
    assert wished[0].vector and wished[0].vector.tokens == 16
    assert embedder.base_digest(options) and embedder.base_digest(SCRATCH) is None


def test_as_a_graph_it_answers_the_same_with_the_same_vectors(learnt: embedder.Embedder, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed: make setup")
    from training.export import write_graph

    inputs = [*corpus()[0], question("失业金" * 30), question("zz")]
    embedder.save(learnt, tmp_path)
    write_graph(embedder, learnt, inputs[:3], tmp_path / graphs.GRAPH_FILE)
    graph = embedder.load(tmp_path, TASK)
    assert graph.graph is not None
    assert labels_of(graph, inputs) == labels_of(learnt, inputs)
    assert vectors_of(graph, ["失业金", "证"]) == pytest.approx(vectors_of(learnt, ["失业金", "证"]), abs=1e-5)
