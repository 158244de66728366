"""The cascade family: who answers at which threshold, what counts as a label, saving, and bytes that were changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hotline import families
from hotline.errors import InputError, IntegrityError
from hotline.families import cascade, classifier, writer
from hotline.families.cascade import Cascade
from hotline.families.classifier_options import ClassifierOptions
from hotline.families.writer_options import WriterOptions
from hotline.labels import LabelTree
from hotline.task import Answer, Input
from hotline.tasks import find
from hotline.wishes import NOTHING, Wish

TASK = find("ticket_category")
FAMILY = families.find("cascade")
LABELS = ("城建/路灯", "城建/井盖", "交通/晚点", "环保/噪音")
KNOWN = {"路灯坏了": LABELS[0], "井盖丢了": LABELS[1], "公交晚点": LABELS[2], "半夜施工": "我不知道"}
"""What the writer has learnt by heart; its last answer is no label."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs() -> list[Input]:
    return [TASK.input.model_validate({"text": text}) for text in KNOWN]


def small() -> classifier.Classifier:
    """A classifier that nothing has taught: it is as sure of every leaf."""
    asked = [TASK.input.model_validate({"text": f"{label}{n}"}) for n in range(4) for label in LABELS]
    targets = [TASK.target.model_validate({"label": label}) for _ in range(4) for label in LABELS]
    torch.manual_seed(0)
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 8, "bucket_bits": 10})
    return classifier.create(options, TASK, LabelTree.of(LABELS), asked, targets).eval()


def large() -> writer.Writer:
    """A writer that says what it has learnt by heart."""
    task = families.by(TASK, "writer")
    targets = [task.target.model_validate({"label": said}) for said in KNOWN.values()]
    sizes = {"width": 32, "layers": 1, "heads": 1, "vocabulary": 330, "max_tokens": 128, "max_answer_tokens": 24}
    torch.manual_seed(0)
    options = WriterOptions.model_validate({"architecture": "scratch", **sizes})
    model = writer.create(options, task, None, inputs(), targets)
    batch = writer.prepare(model, inputs(), targets)
    optimiser = torch.optim.AdamW(writer.parameter_groups(model, 2e-2, 0.0))
    for _ in range(120):
        loss = writer.loss(model.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.02:
            break
    return model.eval()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both parts' folders, as their families save them."""
    place = tmp_path_factory.mktemp("parts")
    folders = (place / "classifier", place / "writer")
    for folder in folders:
        folder.mkdir()
    classifier.save(small(), folders[0])
    writer.save(large(), folders[1])
    return folders


Made = Callable[[float], Cascade]


@pytest.fixture
def made(parts: tuple[Path, Path], tmp_path: Path) -> Made:
    def make(threshold: float) -> Cascade:
        folder = tmp_path / f"{threshold:g}"
        if not folder.exists():
            cascade.assemble(*parts, threshold, folder)
        return cascade.load(folder, TASK)

    return make


def said(model: Cascade, wishes: list[Wish] | None = None) -> list[Answer]:
    return families.answer(FAMILY, model, inputs(), wishes=wishes)


def labels(answers: list[Answer]) -> list[Any]:
    return [answer.target.model_dump()["label"] for answer in answers]


def test_at_threshold_0_the_classifier_answers_everything(made: Made) -> None:
    model = made(0.0)
    alone = families.answer(families.find("classifier"), model.small, inputs())
    assert [answer.model_copy(update={"answered_by": None}) for answer in said(model)] == alone
    assert {answer.answered_by for answer in said(model)} == {"small"}


def test_at_threshold_1_the_writer_answers_what_it_has_a_label_for(made: Made) -> None:
    answers = said(made(1.0))
    assert labels(answers)[:3] == [*LABELS[:3]]
    assert [answer.answered_by for answer in answers] == ["large"] * 3 + ["small_after_large"]


def test_what_the_writer_says_that_is_no_label_leaves_the_classifiers_answer(made: Made) -> None:
    quick, both = said(made(0.0))[3], said(made(1.0))[3]
    assert both.answered_by == "small_after_large"
    assert both == quick.model_copy(update={"answered_by": "small_after_large"})


def test_between_the_extremes_only_unsure_rows_are_asked_and_batches_do_not_matter(made: Made) -> None:
    sure = sorted(answer.confidence for answer in said(made(0.0)))
    model = made((sure[1] + sure[2]) / 2)
    answers = said(model)
    by = [answer.answered_by == "small" for answer in answers]
    assert sum(by) == 2 and by == [answer.confidence >= model.plan.threshold for answer in said(made(0.0))]
    alone = [families.answer(FAMILY, model, [given], 1)[0] for given in inputs()]
    assert [each.answered_by for each in alone] == [each.answered_by for each in answers]
    assert labels(alone) == labels(answers)
    assert [each.confidence for each in alone] == pytest.approx([each.confidence for each in answers], abs=1e-5)


def test_alternatives_of_the_writers_answer_are_the_classifiers_and_share_what_is_left(made: Made) -> None:
    for answer in said(made(1.0))[:3]:
        others = labels([Answer(target=target, confidence=share) for target, share in answer.alternatives])
        assert sorted([*others, *labels([answer])]) == sorted(LABELS)
        assert answer.confidence + sum(share for _, share in answer.alternatives) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("城建/路灯", "城建/路灯"),
        ("「城建/路灯」。", "城建/路灯"),
        ("城建", None),
        ("", None),
        ("城建/路灯 环保", None),
    ],
)
def test_a_text_is_a_label_when_it_is_a_leaf_of_the_tree(text: str, label: str | None) -> None:
    assert LabelTree.of(LABELS).named(text) == label


def test_a_choice_among_options_is_the_classifiers(made: Made) -> None:
    wishes = [Wish(options=(LABELS[3], "城建")), NOTHING, NOTHING, NOTHING]
    answers = said(made(1.0), wishes)
    assert (labels(answers)[0] in {LABELS[3], "城建"}, answers[0].answered_by) == (True, "small")
    assert [answer.answered_by for answer in answers[1:]] == ["large", "large", "small_after_large"]


def test_a_saved_cascade_answers_the_same(made: Made, tmp_path: Path) -> None:
    model = made(1.0)
    (tmp_path / "again").mkdir()
    cascade.save(model, tmp_path / "again")
    assert said(cascade.load(tmp_path / "again", TASK)) == said(model)


@pytest.mark.parametrize("part", ["small/model.safetensors", "large/checkpoint/model.safetensors"])
def test_a_flipped_byte_in_either_part_is_refused_by_its_name(made: Made, tmp_path: Path, part: str) -> None:
    made(0.5)
    path = tmp_path / "0.5" / part
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=f"the {part.partition('/')[0]} part"):
        cascade.load(tmp_path / "0.5", TASK)


def test_parts_in_the_wrong_order_are_no_cascade(parts: tuple[Path, Path], tmp_path: Path) -> None:
    cascade.assemble(*reversed(parts), 0.5, tmp_path / "made")  # type: ignore[misc]
    with pytest.raises(IntegrityError, match="another declaration"):
        cascade.load(tmp_path / "made", TASK)


def test_the_same_parts_and_threshold_are_the_same_bytes(parts: tuple[Path, Path], tmp_path: Path) -> None:
    plans = [cascade.assemble(*parts, 0.5, tmp_path / name) for name in ("one", "two")]
    assert plans[0] == plans[1]
    assert (tmp_path / "one/cascade.json").read_bytes() == (tmp_path / "two/cascade.json").read_bytes()
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(InputError, match="probability"):
        cascade.assemble(*parts, 1.5, tmp_path / "one")
