"""Writers from checkpoints: tiny random ones, made here as transformers saves the large ones; adapters and merges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field, ValidationError

from hotline import families
from hotline.errors import InputError, IntegrityError, UnavailableError
from hotline.families import merging, vocabularies, writer
from hotline.families.adapter_options import AdapterOptions
from hotline.families.writer import Writer
from hotline.families.writer_options import WriterOptions
from hotline.prompts import Prompt
from hotline.task import Answer, Input, Target, Task


class Told(Input):
    text: str


class Said(Target):
    text: Annotated[str, Field(max_length=12)]


TOY = Task(
    name="toy",
    summary="toy",
    family="writer",
    input=Told,
    target=Said,
    scores={},
    bars={},
    prompt=Prompt(user="{text}"),
)
PAIRS = {"东街的路灯": "路灯", "西巷的井盖": "井盖", "南路的垃圾": "垃圾", "北桥的噪音": "噪音"}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
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


def tokenizer() -> Any:
    return vocabularies.trained([*PAIRS, *PAIRS.values()], 320, single_characters=True)


def checkpoint(folder: Path, kind: str = "qwen3", seed: int = 1) -> Path:
    """A random checkpoint of that architecture, with a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    words = tokenizer()
    named = {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = AutoConfig.for_model(kind, **SMALL, **named, bos_token_id=None)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def own_code(folder: Path) -> Path:
    """A checkpoint whose architecture is a Python file beside it."""
    checkpoint(folder, "llama")
    (folder / "modeling_odd.py").write_text(OWN_CODE, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    mapped = {"AutoConfig": "modeling_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddForCausalLM"}
    config |= {"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": mapped}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def options(base: Path, **changed: object) -> WriterOptions:
    sizes = {"max_tokens": 64, "max_answer_tokens": 8}
    return WriterOptions.model_validate({"architecture": "pretrained", "base": str(base), **sizes, **changed})


def rows() -> tuple[list[Input], list[Target]]:
    return [Told(text=text) for text in PAIRS], [Said(text=text) for text in PAIRS.values()]


def trained(described: WriterOptions, steps: int = 150, rate: float = 1e-2) -> Writer:
    torch.manual_seed(0)
    model = writer.create(described, TOY, None, *rows())
    batch = writer.prepare(model, *rows())
    optimiser = torch.optim.AdamW(writer.parameter_groups(model, rate, 0.0))
    model.train()
    for _ in range(steps):
        loss = writer.loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.02:
            break
    return model.eval()


def texts_of(answers: Sequence[Answer]) -> list[str]:
    return [answer.target.text for answer in answers]  # type: ignore[attr-defined]


def said(model: Writer) -> list[str]:
    return texts_of(families.answer(writer, model, rows()[0]))


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_checkpoint_is_fine_tuned_and_its_version_needs_no_base(kind: str, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", kind)
    model = trained(options(base))
    assert said(model) == list(PAIRS.values())
    (tmp_path / "saved").mkdir()
    writer.save(model, tmp_path / "saved")
    shutil.rmtree(base)
    assert said(writer.load(tmp_path / "saved", TOY)) == list(PAIRS.values())


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_merged_adapter_is_verified_and_its_version_needs_no_base(kind: str, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    model = trained(options(base, adapter={"kind": kind, "rank": 8}), rate=2e-2)
    frozen = [name for name, each in model.named_parameters() if each.requires_grad and "lora_" not in name]
    assert frozen == []
    assert all(group["params"] for group in writer.parameter_groups(model, 1e-3, 0.1))  # DeepSpeed refuses empty ones
    fresh = writer.loss(trained(model.options, steps=0), writer.prepare(model, *rows()))
    assert writer.loss(model, writer.prepare(model, *rows())) < 0.5 * fresh
    before = said(model)
    figures = writer.finish(model, *rows())
    assert figures["merge/top1_agreement"] == 1.0
    assert figures["merge/max_logit_difference"] < 1e-3
    assert said(model) == before
    (tmp_path / "saved").mkdir()
    writer.save(model, tmp_path / "saved")
    report = merging.Report.model_validate_json((tmp_path / "saved" / merging.REPORT_FILE).read_text())
    assert (report.base, report.rows, report.texts_alike) == (writer.base_digest(options(base)), 4, 1.0)
    shutil.rmtree(base)
    again = writer.load(tmp_path / "saved", TOY)
    assert said(again) == before
    assert not [name for name, _ in again.named_parameters() if "lora_" in name]


def test_a_merge_that_changes_the_answers_registers_nothing(tmp_path: Path) -> None:
    model = trained(options(checkpoint(tmp_path / "base")))

    def logits() -> torch.Tensor:
        batch = writer.prepare(model, *rows())
        return writer.answer_rows.logits(model, batch)

    def broken() -> None:
        with torch.no_grad():
            for name, weights in model.model.named_parameters():
                if "layers" in name and weights.ndim > 1:
                    weights.add_(torch.randn_like(weights))

    with pytest.raises(IntegrityError, match="does not answer as the unmerged") as refused:
        merging.verified(logits, lambda: said(model), broken, "0" * 64, AdapterOptions())
    assert refused.value.expected == "at least 99.5%"


def test_a_base_that_changed_since_training_is_not_merged_onto(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    model = trained(options(base, adapter={"rank": 2}), steps=2)
    checkpoint(base, seed=2)
    with pytest.raises(IntegrityError, match="not the one that the adapter was trained on"):
        writer.finish(model, *rows())


def test_several_adapters_share_one_base_that_is_checked(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    kept = {"rank": 8, "merge": False}
    scenarios = {
        "first": trained(options(base, adapter=kept), rate=2e-2),
        "second": trained(options(base, adapter=kept), steps=3),
    }
    for name, model in scenarios.items():
        assert writer.finish(model, *rows()) == {}
        (tmp_path / name).mkdir()
        writer.save(model, tmp_path / name)
        files = {path.name: path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors")}
        assert list(files) == ["adapter_model.safetensors"]
    for name, model in scenarios.items():
        assert said(writer.load(tmp_path / name, TOY)) == said(model)
    checkpoint(base, seed=2)
    with pytest.raises(IntegrityError, match="the base is not the one"):
        writer.load(tmp_path / "first", TOY)


def test_weights_stored_in_16_bits_are_those_that_were_judged(tmp_path: Path) -> None:
    model = trained(options(checkpoint(tmp_path / "base"), dtype="bfloat16", adapter={"rank": 8}), rate=2e-2)
    writer.finish(model, *rows())
    (tmp_path / "saved").mkdir()
    writer.save(model, tmp_path / "saved")
    again = writer.load(tmp_path / "saved", TOY)
    stored = dict(again.model.named_parameters())
    assert all(torch.equal(each, stored[name].float()) for name, each in model.model.named_parameters())
    assert {each.dtype for each in stored.values()} == {torch.bfloat16}


@pytest.mark.parametrize("more", [{}, {"adapter": {"rank": 2}}])
def test_recomputed_activations_change_no_step(more: dict[str, object], tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    batch = writer.prepare(writer.create(options(base), TOY, None, *rows()), *rows())
    plain, recomputed = (
        writer.loss(trained(options(base, checkpointing=on, **more), steps=3), batch).item() for on in (False, True)
    )
    assert recomputed == pytest.approx(plain, rel=1e-5)


def test_four_bits_need_what_is_not_here(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(UnavailableError, match="4 bits") as refused:
        trained(options(checkpoint(tmp_path / "base"), adapter={"kind": "qlora"}))
    assert "lora" in str(refused.value.next)


def test_an_adapter_for_layers_that_there_are_not_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finds no layer") as refused:
        trained(options(checkpoint(tmp_path / "base"), adapter={"layers": ["query"]}))
    assert "q_proj" in str(refused.value.expected)


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def no_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {name: each for name, each in load_file(folder / "model.safetensors").items() if "layers.1" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def an_encoder(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "clip_vision_model"}))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (no_tokenizer, "has no tokenizer"),
        (no_weights, "lacks weights"),
        (an_encoder, "no causal language model"),
        (own_code, "brings code of its own"),
    ],
)
def test_an_unusable_base_is_refused_in_words(broken: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    broken(base)
    with pytest.raises(InputError, match=message):
        writer.create(options(base), TOY, None, *rows())


def test_a_base_with_its_own_code_runs_when_its_folder_is_trusted(tmp_path: Path) -> None:
    base = own_code(tmp_path / "base")
    model = trained(options(base, trust_local_code=True))
    assert not model.by_rows
    assert said(model) == list(PAIRS.values())
    (tmp_path / "saved").mkdir()
    writer.save(model, tmp_path / "saved")
    shutil.rmtree(base)
    assert said(writer.load(tmp_path / "saved", TOY)) == list(PAIRS.values())


def test_code_from_a_hub_is_never_trusted(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="local folder only"):
        options(Path("Tele-AI/TeleChat2-7B"), revision="main", trust_local_code=True)
    with pytest.raises(InputError, match="neither a folder nor a hub id"):
        trained(options(Path("Tele-AI/TeleChat2-7B"), trust_local_code=True))


def test_a_base_without_a_chat_template_is_asked_in_plain_text(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    model = trained(options(base))
    [asked] = model.chat.asked(rows()[0][:1])
    assert model.chat.tokenizer.decode(asked) == "东街的路灯\n\n"
    assert said(model) == list(PAIRS.values())
