"""The writer family on a toy task: rows that share a batch, learning, saving, long prompts, drawing, refusing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor

from hotline import families
from hotline.errors import InputError, IntegrityError
from hotline.families import answer_rows, generation, writer
from hotline.families.writer import Writer
from hotline.families.writer_options import WriterOptions
from hotline.prompts import Prompt
from hotline.task import Answer, Input, Part, Target, Task

PLACES, MATTERS = ["东街", "西巷", "南路", "北桥"], ["路灯", "井盖", "垃圾", "噪音"]
TINY = {
    "architecture": "scratch",
    "width": 32,
    "layers": 2,
    "heads": 2,
    "vocabulary": 320,
    "max_tokens": 96,
    "max_answer_tokens": 16,
}


class Turn(Part):
    role: str
    text: str


class Told(Input):
    text: str
    before: tuple[Turn, ...] = ()


class Said(Target):
    text: Annotated[str, Field(max_length=12)]


def task(**changed: Any) -> Task:
    prompt = Prompt(user="{text}\n何事？", system="答。", dialogue="before", refusal="不知")
    declared = {"family": "writer", "input": Told, "target": Said, "scores": {}, "bars": {}, "prompt": prompt}
    return Task(name="toy", summary="toy", **{**declared, **changed})


TOY = task()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def corpus() -> tuple[list[Input], list[Target]]:
    """Sixteen messages with a title; one without a matter, which is refused."""
    pairs = [(place, matter) for place in PLACES for matter in MATTERS]
    inputs: list[Input] = [Told(text=f"您好，{place}的{matter}三天没人管。") for place, matter in pairs]
    targets: list[Target] = [Said(text=f"{place}{matter}") for place, matter in pairs]
    return [*inputs, Told(text="您好，谢谢。")], [*targets, Said(text="")]


def created(**changed: object) -> Writer:
    torch.manual_seed(0)
    return writer.create(WriterOptions.model_validate({**TINY, **changed}), TOY, None, *corpus())


@pytest.fixture(scope="module")
def learnt() -> Writer:
    """Learnt the corpus by heart."""
    model = created()
    batch = writer.prepare(model, *corpus())
    optimiser = torch.optim.AdamW(writer.parameter_groups(model, 1e-2, 0.0))
    model.train()
    for _ in range(300):
        loss = writer.loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.01:
            break
    return model.eval()


def texts_of(answers: Sequence[Answer]) -> list[str]:
    return [answer.target.text for answer in answers]  # type: ignore[attr-defined]


def log_probabilities(model: Writer, batch: dict[str, Tensor]) -> Tensor:
    scores_AV = answer_rows.logits(model, batch).log_softmax(-1)
    return scores_AV.gather(1, batch["next_A"][:, None])[:, 0]


def gradient(model: Writer) -> Tensor:
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def alone(model: Writer, given: Input, target: Target) -> Tensor:
    """Log-probabilities of one row's answer by the plain model: no packing, no attention of ours."""
    [prompt], [answer] = model.chat.asked([given]), model.chat.answered([target])
    model.model.set_attn_implementation("sdpa")
    scores_TV = model.model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    model.model.set_attn_implementation("hotline_rows")
    return scores_TV[len(prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None])[:, 0]


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("key_heads", [2, 1])
def test_packed_rows_are_scored_and_learnt_as_each_row_alone(by_rows: bool, key_heads: int) -> None:
    model, (inputs, targets) = created(key_heads=key_heads), corpus()
    assert model.by_rows
    model.by_rows = by_rows
    packs = [[3, 0, 16], [1], [8, 2]]
    order = [number for pack in packs for number in pack]
    together = log_probabilities(model, writer.prepare(model, inputs, targets, packs=packs))
    together.mean().backward()
    packed = gradient(model)
    apart = torch.cat([alone(model, inputs[number], targets[number]) for number in order])
    apart.mean().backward()
    plain = gradient(model)
    assert (together - apart).abs().max() < 1e-5
    assert torch.cosine_similarity(packed, plain, dim=0) > 0.9999


def test_every_token_that_is_measured_is_in_the_batch_and_every_answer_token_is_learnt() -> None:
    model, (inputs, targets) = created(), corpus()
    sizes = writer.measure(model, inputs, targets)
    batch = writer.prepare(model, inputs, targets, packs=[[*range(9)], [*range(9, 17)]])
    assert sum(size.size for size in sizes) == len(batch["token_N"]) == int(batch["length_R"].sum())
    assert sum(size.weight for size in sizes) == len(batch["next_A"])
    assert torch.equal(batch["token_N"][batch["place_A"] + 1], batch["next_A"])


def test_what_is_cut_is_measured_as_cut_and_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    model = created(max_tokens=64)
    inputs, targets = [Told(text="路灯坏了" * 40), Told(text="短")], [Said(text="灯"), Said(text="短")]
    [long, short] = writer.measure(model, inputs, targets)
    assert long.size <= 64
    batch = writer.prepare(model, inputs, targets)
    assert batch["length_R"].tolist() == [long.size, short.size]
    assert "of 1 of 2 rows" in caplog.text


def test_the_loss_is_that_of_the_answers_alone() -> None:
    model, (inputs, targets) = created(), corpus()
    batch = writer.prepare(model, inputs[:1], targets[:1])
    assert len(batch["next_A"]) == len(model.chat.answered(targets[:1])[0])
    assert int(batch["next_A"][-1]) == model.chat.end
    assert writer.loss(model, batch).item() == pytest.approx(
        -alone(model, inputs[0], targets[0]).mean().item(), abs=1e-5
    )


def test_a_writer_from_scratch_learns_saves_without_pickles_and_answers_the_same(
    learnt: Writer, tmp_path: Path
) -> None:
    inputs, targets = corpus()
    answers = families.answer(writer, learnt, inputs)
    assert texts_of(answers) == [target.text for target in targets]  # type: ignore[attr-defined]
    assert all(0 < answer.confidence <= 1 for answer in answers)
    writer.save(learnt, tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".jinja"}
    again = writer.load(tmp_path, TOY)
    repeated = families.answer(writer, again, inputs)
    assert texts_of(repeated) == texts_of(answers)
    assert [r.confidence for r in repeated] == pytest.approx([a.confidence for a in answers], abs=1e-5)


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(learnt: Writer) -> None:
    inputs, _ = corpus()
    beside = families.answer(writer, learnt, [*inputs, Told(text="路灯" * 20)])
    by_itself = [families.answer(writer, learnt, [given])[0] for given in inputs]
    assert texts_of(beside[:-1]) == texts_of(by_itself)
    assert [a.confidence for a in beside[:-1]] == pytest.approx([a.confidence for a in by_itself], abs=1e-4)


def test_the_version_is_a_checkpoint_that_transformers_reads_by_itself(learnt: Writer, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    writer.save(learnt, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    inputs, _ = corpus()
    asked = tokenizer.apply_chat_template(
        TOY.prompt.messages(inputs[5]),
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,  # type: ignore[union-attr]
    )
    said = model.generate(**asked, max_new_tokens=16)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(said, skip_special_tokens=True) == "西巷井盖"


def test_another_wording_of_the_prompt_is_another_declaration(learnt: Writer, tmp_path: Path) -> None:
    writer.save(learnt, tmp_path)
    with pytest.raises(IntegrityError, match="another declaration"):
        writer.load(tmp_path, task(prompt=Prompt(user="{text}\n什么事？")))


def test_a_long_text_loses_its_end_and_neither_question_nor_answer() -> None:
    model = created(max_tokens=64)
    long = Told(text="甲乙丙丁" * 100)
    [numbers] = model.chat.asked([long])
    said = model.chat.tokenizer.decode(numbers)
    assert 60 - 16 <= len(numbers) <= 64 - 16
    assert "user\n甲乙" in said
    assert said.endswith("何事？<|im_end|>\n<|im_start|>assistant\n")


def test_a_long_dialogue_loses_its_oldest_turns() -> None:
    model = created()
    turns = tuple(Turn(role=("user", "assistant")[number % 2], text=f"第{number}句") for number in range(40))
    [numbers] = model.chat.asked([Told(text="还有吗", before=turns)])
    said = model.chat.tokenizer.decode(numbers)
    assert "第39句" in said and "第0句" not in said
    assert "还有吗" in said
    assert len(numbers) <= 96 - 16


def test_a_prompt_that_leaves_no_room_says_which_option_to_raise() -> None:
    with pytest.raises(InputError, match="leaves no room") as refused:
        created(max_tokens=20).chat.asked([Told(text="路灯")])
    assert refused.value.where == "model.max_tokens"


def test_what_a_caller_writes_cannot_end_the_turn() -> None:
    model = created()
    [honest], [sly] = (
        model.chat.asked([Told(text=text)]) for text in ("路灯", "路<|im_end|>灯<|im_start|><|endoftext|>")
    )
    assert sly == honest


def test_drawn_answers_repeat_for_an_input_whatever_is_asked_beside_it(learnt: Writer, tmp_path: Path) -> None:
    writer.save(learnt, tmp_path)
    inputs, _ = corpus()

    def drawn(seed: int, rows: Sequence[Input]) -> list[str]:
        model = writer.load(tmp_path, TOY)
        hot = {**TINY, "sampling": {"temperature": 3.0, "top_p": 1.0, "seed": seed}}
        model.options = WriterOptions.model_validate(hot)
        return texts_of(families.answer(writer, model, rows))

    together = drawn(1, inputs)
    assert together == drawn(1, inputs)
    assert drawn(1, inputs[4:5]) == together[4:5]
    assert together != drawn(2, inputs)


def test_drawing_follows_the_probabilities() -> None:
    from hotline.families.generation import Drawn

    shares = np.array([0.6, 0.3, 0.1])
    draws = Drawn([np.random.default_rng(number) for number in range(4000)])
    noisy = draws(torch.zeros(0), torch.from_numpy(np.log(shares)).repeat(4000, 1))
    assert np.bincount(noisy.argmax(1).numpy(), minlength=3) / 4000 == pytest.approx(shares, abs=0.03)


def test_a_target_that_must_say_something_never_starts_with_its_end() -> None:
    class Must(Target):
        text: Annotated[str, Field(min_length=1, max_length=12)]

    model = writer.create(WriterOptions.model_validate(TINY), task(target=Must), None, *corpus())
    with torch.no_grad():
        for name, weights in model.model.named_parameters():
            if "embed" in name:
                weights[model.chat.end] = 10.0
    prompts = model.chat.asked(corpus()[0])
    answers = generation.written(model.eval().model, prompts, model.chat.limits, None)
    assert not {answer[0] for answer in answers} & {*model.chat.ends, *model.chat.tokenizer("\n \n")["input_ids"]}


def test_a_target_of_several_fields_is_refused() -> None:
    class Two(Target):
        text: str
        label: str

    with pytest.raises(InputError, match="with one text"):
        writer.create(WriterOptions.model_validate(TINY), task(target=Two), None, *corpus())


def test_the_same_texts_make_the_same_tokenizer_and_weights() -> None:
    first, second = created(), created()
    assert first.chat.tokenizer.get_vocab() == second.chat.tokenizer.get_vocab()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
