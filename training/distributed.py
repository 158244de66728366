"""DeepSpeed under Lightning, on CUDA and on CPU ranks. The only module that mentions DeepSpeed."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy
from pytorch_lightning.utilities import rank_zero_only

from training.recipe import TrainerSection

SHARED_MEMORY_OP = "deepspeed_shm_comm"


class CpuDeepSpeedStrategy(DeepSpeedStrategy):
    """Lightning's strategy refuses anything but CUDA, DeepSpeed itself does not: ranks that speak gloo.

    DeepSpeed's shared-memory operation is left out: it would need a compiler on first use.
    """

    def setup_environment(self) -> None:
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False
        DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    def _setup_model_and_optimizer(self, model: Any, optimizer: Any, lr_scheduler: Any = None) -> Any:
        import deepspeed

        engine, made, _, _ = deepspeed.initialize(
            args=argparse.Namespace(device_rank=self.local_rank),
            config=self.config,
            model=model,
            model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            dist_init_required=False,
        )
        return engine, made


def strategy(section: TrainerSection) -> Any:
    """What Lightning's Trainer takes: `auto`, or DeepSpeed with the recipe's own JSON, unchanged."""
    if section.deepspeed is None:
        return "auto"
    _quiet()
    config = {"train_micro_batch_size_per_gpu": section.batch_rows or 1, **section.deepspeed}  # for its own log only
    if on_cuda(section):
        return DeepSpeedStrategy(config=config)
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read by DeepSpeed when it is imported
    return CpuDeepSpeedStrategy(config=config, process_group_backend="gloo")


def on_cuda(section: TrainerSection) -> bool:
    return section.accelerator != "cpu" and torch.cuda.is_available()


def leads() -> bool:
    """Whether this process is the one that tracks and registers; the other ranks only train."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


@contextmanager
def whole_weights(model: torch.nn.Module, section: TrainerSection) -> Iterator[Mapping[str, torch.Tensor]]:
    """The model's weights in full, on every rank: ZeRO-3 keeps a part of each on each rank."""
    if section.deepspeed is None or section.deepspeed.get("zero_optimization", {}).get("stage") != 3:
        yield model.state_dict()
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        yield {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _quiet() -> None:
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*is deprecated. Please use.*", FutureWarning)
