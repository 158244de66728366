"""Model FLOP utilisation of fine-tuning a 1.7 B Qwen3 from random weights on this machine's GPU, packed, in 16 bits.

    python bench/mfu.py [--tokens 4096] [--sequences 4] [--steps 20] [--tiny]

For a bare GPU machine: of ours only the core of training and the writer family, and beside it torch, lightning,
transformers and deepspeed (with peft, where it is installed, adapters are measured, too). Every weight and LoRA are
trained with ZeRO-2 under Lightning; rows of hotline-like lengths fill sequences of 4,096 tokens. Utilisation is what
the model's mathematics needs (recomputed activations are not counted), per second, over the rate of a large matrix
product that is measured on the same card in the same run. `--tiny` tries the script itself on a CPU. Prints a table;
the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # nothing of ours is installed on a bare machine

LARGE = {
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
TINY = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
}
WARM_STEPS, MATRIX, MATRIX_TINY, PRODUCTS = 5, 8192, 512, 50
ANSWER_SHARE = 0.3
ADAPTER_RANK = 16


class Bare(nn.Module):
    """A language model as the writer family asks it: no tokenizer, no task."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        from hotline.families import row_attention

        self.model, self.by_rows = model, row_attention.install(model)


def model_of(sizes: dict[str, int], tokens: int, adapted: bool) -> Bare:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(**sizes, tie_word_embeddings=True, max_position_embeddings=tokens)
    bare = Bare(Qwen3ForCausalLM(config))
    bare.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if adapted:
        from hotline.families import adapters
        from hotline.families.adapter_options import AdapterOptions

        adapters.inject(bare.model, AdapterOptions(rank=ADAPTER_RANK, alpha=2 * ADAPTER_RANK))
        bare.model.enable_input_require_grads()
    return bare


def batches(vocabulary: int, tokens: int, sequences: int, steps: int) -> list[Any]:
    """A micro-batch per step: sequences filled to the last token with rows of prompt and answer."""
    from hotline.families import answer_rows

    draw = np.random.default_rng(0)
    made = []
    for number in range(steps):
        prompts, answers = [], []
        for _ in range(sequences):
            for length in _lengths(draw, tokens):
                answer = max(1, int(ANSWER_SHARE * length))
                row = draw.integers(0, vocabulary, length).tolist()
                prompts.append(row[:-answer])
                answers.append(row[-answer:])
        made.append((answer_rows.rows(prompts, answers), 1.0, number))
    return made


def _lengths(draw: np.random.Generator, tokens: int) -> list[int]:
    """Row lengths that add up to one sequence."""
    found: list[int] = []
    while (left := tokens - sum(found)) > 16:
        found.append(min(left, int(np.clip(draw.lognormal(6.0, 0.7), 16, tokens))))
    return [*found[:-1], tokens - sum(found[:-1])]


def operations(bare: Bare, batch: dict[str, torch.Tensor], adapted: bool) -> float:
    """Floating-point operations that one step of the model needs: forward, and backward for activations and weights.

    Frozen weights need no gradient of their own: four instead of six operations per weight and token.
    """
    config, tokens = bare.model.config, int(batch["length_R"].sum())
    frozen = 4 if adapted else 6
    layers = [each for name, each in bare.named_parameters() if ".layers." in name and each.ndim > 1]
    learnt = sum(each.numel() for each in layers if each.requires_grad)
    weights = sum(each.numel() for each in layers) - learnt
    pairs = float((batch["length_R"].double() ** 2).sum()) / 2  # a token sees itself and those before it
    heads = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    head = frozen * config.vocab_size * config.hidden_size * len(batch["next_A"])
    return (6 * learnt + frozen * weights) * tokens + 12 * heads * pairs + head


def matrix_rate(device: torch.device, size: int) -> float:
    """Operations per second of a large product in 16 bits: the best of five rounds."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    rounds = []
    for _ in range(5):
        _wait(device)
        started = time.perf_counter()
        for _ in range(PRODUCTS if device.type == "cuda" else 1):
            torch.mm(a, a)
        _wait(device)
        rounds.append((PRODUCTS if device.type == "cuda" else 1) * 2 * size**3 / (time.perf_counter() - started))
    return max(rounds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def trained(bare: Bare, data: list[Any], device: torch.device) -> float:
    """Seconds per step after the first ones, by Lightning and DeepSpeed with the recipes' ZeRO-2 file."""
    import pytorch_lightning as pl

    from hotline.families import writer
    from training.distributed import strategy
    from training.module import FamilyModule
    from training.recipe import parse

    recipe = parse(_recipe(device), str(ROOT / "training" / "recipes" / "mfu.yaml"))
    clock = _Clock(device)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        strategy=strategy(recipe.trainer),
        precision=recipe.trainer.precision,
        callbacks=[clock.callback(pl)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    loader: Any = torch.utils.data.DataLoader(data, batch_size=None, shuffle=False)  # type: ignore[arg-type]
    trainer.fit(FamilyModule(writer, bare, recipe, len(data)), loader)  # type: ignore[arg-type]
    return (clock.ends[-1] - clock.ends[WARM_STEPS - 1]) / (len(clock.ends) - WARM_STEPS)


class _Clock:
    """When each step was done, the device's queue emptied."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.ends = device, list[float]()

    def callback(self, lightning: Any) -> Any:
        clock = self

        class Ends(lightning.Callback):  # type: ignore[misc, name-defined]
            def on_train_batch_end(self, *_: Any) -> None:
                _wait(clock.device)
                clock.ends.append(time.perf_counter())

        return Ends()


def _recipe(device: torch.device) -> dict[str, Any]:
    return {
        "name": "mfu",
        "task": "ticket_summary",
        "seed": 0,
        "model": {"architecture": "scratch"},
        "optimiser": {"learning_rate": 1e-5},
        "trainer": {
            "max_epochs": 1,
            "batch_rows": 1,
            "precision": "bf16-true",
            "accelerator": "gpu" if device.type == "cuda" else "cpu",
            "deepspeed": "../deepspeed/zero2.json",
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.tiny:
        parser.error("there is no GPU here; --tiny tries the script on a CPU")
    device = torch.device("cuda" if torch.cuda.is_available() and not arguments.tiny else "cpu")
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "29511")
    sizes, matrix = (TINY, MATRIX_TINY) if arguments.tiny else (LARGE, MATRIX)
    rate = matrix_rate(device, matrix)
    kinds = [("full", False)] + ([("lora", True)] if importlib.util.find_spec("peft") else [])
    figures: dict[str, Any] = {"device": _name(device), "matrix_tflops": round(rate / 1e12, 2), "lora": None}
    for kind, adapted in kinds:
        bare = model_of(sizes, arguments.tokens, adapted)
        data = batches(sizes["vocab_size"], arguments.tokens, arguments.sequences, WARM_STEPS + arguments.steps)
        needed = float(np.mean([operations(bare, batch, adapted) for batch, *_ in data[WARM_STEPS:]]))
        seconds = trained(bare, data, device)
        figures[kind] = {
            "mfu": round(needed / seconds / rate, 4),
            "tokens_per_second": round(arguments.tokens * arguments.sequences / seconds),
            "step_seconds": round(seconds, 4),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
        }
        print(f"{kind:5} {figures[kind]}")
        del bare
    print(json.dumps(figures))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
