"""Adapters over a frozen model, by peft: put in, read out, put back, and a base in 4 bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hotline.errors import InputError, UnavailableError
from hotline.families.adapter_options import AdapterOptions

NAME = "default"
WEIGHTS_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"


def inject(model: Any, options: AdapterOptions, but: tuple[str, ...] = ()) -> None:
    """Freeze the model and put adapters into its linear layers, but not into its head or those named in `but`.

    Raises InputError when no layer has one of the recipe's names.
    """
    from peft import inject_adapter_in_model

    try:
        inject_adapter_in_model(_config(options, but), model)
    except ValueError as error:
        named = sorted({name.rsplit(".", 1)[-1] for name, each in model.named_modules() if hasattr(each, "weight")})
        raise InputError(
            "the adapter finds no layer of that name",
            where="model.adapter.layers",
            found=", ".join(options.layers),
            expected="some of: " + ", ".join(named),
        ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _config(options: AdapterOptions, but: tuple[str, ...]) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        use_dora=options.kind == "dora",
        target_modules=list(options.layers) or "all-linear",
        exclude_modules=list(but) or None,
    )


def weights(model: Any) -> dict[str, Any]:
    """The adapter's tensors by name."""
    from peft import get_peft_model_state_dict

    return {name: tensor.detach().cpu().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}


def put_back(model: Any, tensors: dict[str, Any]) -> None:
    """Adapter tensors into a model that has the same adapters."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, tensors, adapter_name=NAME)


def save(model: Any, options: AdapterOptions, base: str, folder: Path) -> None:
    """The adapter alone, as peft and other engines read it."""
    from safetensors.torch import save_file

    config = _config(options, ())
    config.base_model_name_or_path = base
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file(weights(model), folder / WEIGHTS_FILE)


def load(model: Any, options: AdapterOptions, folder: Path) -> None:
    """A saved adapter onto its base."""
    from safetensors.torch import load_file

    inject(model, options)
    put_back(model, load_file(folder / WEIGHTS_FILE))


def fold(model: Any) -> None:
    """Add every adapter to its layer's weights, in their precision, and leave the plain layers.

    Raises ValueError when a merged weight is not finite.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())


def in_four_bits() -> dict[str, Any]:
    """What `from_pretrained` is told to load a base in 4 bits. Raises UnavailableError where that cannot work."""
    import torch

    missing = importlib.util.find_spec("bitsandbytes") is None
    if missing or not torch.cuda.is_available():
        raise UnavailableError(
            "a base cannot be loaded in 4 bits here",
            where="model.adapter.kind: qlora",
            found="bitsandbytes is not installed" if missing else "no CUDA device",
            expected="bitsandbytes and a GPU that it knows",
            next="pip install bitsandbytes, or set kind: lora",
        )
    from transformers import BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": how}
