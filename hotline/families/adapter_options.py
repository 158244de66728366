"""Adapters in a recipe: small matrices beside frozen ones (LoRA, Hu et al. 2021; DoRA, Liu et al. 2024)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AdapterOptions(BaseModel):
    """Every linear layer but the head gets one, unless `layers` names some."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["lora", "dora", "qlora"] = "lora"
    """qlora: over a base in 4 bits (Dettmers et al. 2023); needs bitsandbytes and a GPU."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """Changes are scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    layers: tuple[str, ...] = ()
    """Ends of layer names, such as q_proj and v_proj."""
    merge: bool = True
    """The version holds whole weights, verified against the unmerged model. Otherwise it holds the adapter alone and
    needs its base to load: several adapters, one per scenario, may share one."""

    @model_validator(mode="after")
    def _a_layer_is_named_by_something(self) -> AdapterOptions:
        if any(not name.strip() for name in self.layers):
            raise ValueError("layers: an empty name fits every layer; leave the list out instead")
        return self
