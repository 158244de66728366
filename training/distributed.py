"""DeepSpeed under Lightning, on CUDA, NPU and CPU ranks. Only this module and `communication` mention DeepSpeed."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy
from pytorch_lightning.utilities import rank_zero_only

from hotline.errors import IntegrityError
from training import devices
from training.launching import WatchedLauncher
from training.recipe import TrainerSection

SHARED_MEMORY_OP = "deepspeed_shm_comm"


class WatchedDeepSpeedStrategy(DeepSpeedStrategy):
    """Lightning's strategy with a launcher that says so when a rank dies."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = WatchedLauncher(self.cluster_environment, self.num_processes, self.num_nodes)


class AnyDeviceDeepSpeedStrategy(WatchedDeepSpeedStrategy):
    """Lightning's strategy refuses anything but CUDA, DeepSpeed itself does not: ranks on a CPU or an NPU.

    On a CPU, DeepSpeed's shared-memory operation is left out: it would need a compiler on first use.
    """

    def setup_environment(self) -> None:
        import deepspeed.ops

        if self.root_device.type == "cpu":
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


def strategy(section: TrainerSection, universal: bool = False, on_ray: bool = False) -> Any:
    """What Lightning's Trainer takes: `auto`, or DeepSpeed with the recipe's own JSON.

    `universal`: the checkpoint to go on from was made for another number of ranks, and converted. `on_ray`: this is a
    worker of Ray Train, which starts ranks and knows their devices.
    """
    if section.deepspeed is None:
        return "auto"
    _quiet()
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": section.batch_rows or 1,
        **section.deepspeed,
    }  # for its own log only
    if universal:
        config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
    device = devices.kind(section.accelerator)
    if device == "cuda":
        return _of(WatchedDeepSpeedStrategy, on_ray)(config=config)
    os.environ.setdefault("DS_ACCELERATOR", device)  # read by DeepSpeed when it is imported
    return _of(AnyDeviceDeepSpeedStrategy, on_ray)(config=config, process_group_backend=devices.BACKENDS[device])


def _of(kind: type[Any], on_ray: bool) -> type[Any]:
    """The strategy itself, or as Ray's own kind of it."""
    if not on_ray:
        return kind
    from ray.train.lightning import RayDeepSpeedStrategy

    return type(f"Ray{kind.__name__}", (kind, RayDeepSpeedStrategy), {})


def plugins(on_ray: bool) -> list[Any]:
    """What Lightning's Trainer needs to know its rank; nothing where it finds out by itself."""
    if not on_ray:
        return []
    from ray.train.lightning import RayLightningEnvironment

    return [RayLightningEnvironment()]


def leads() -> bool:
    """Whether this process is the one that tracks and registers; the other ranks only train."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def summed(value: torch.Tensor | float, device: torch.device) -> float:
    """The sum over all ranks, each of which must ask for it."""
    mine = torch.as_tensor(value, dtype=torch.float64 if device.type == "cpu" else torch.float32).to(device).clone()
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(mine)
    return float(mine)


def be_rank(rank: int) -> None:
    """Say which rank this is, where no environment variable does."""
    rank_zero_only.rank = rank  # type: ignore[attr-defined]


@contextmanager
def whole_weights(model: torch.nn.Module, section: TrainerSection) -> Iterator[Mapping[str, torch.Tensor]]:
    """The model's weights in full, on every rank: ZeRO-3 keeps a part of each on each rank."""
    if section.deepspeed is None or section.deepspeed.get("zero_optimization", {}).get("stage") != 3:
        yield model.state_dict()
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        yield {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def universal(state: Path, folder: Path) -> Path:
    """DeepSpeed's state as a universal checkpoint in `folder`, which any number of ranks can load.

    Raises IntegrityError when DeepSpeed cannot convert it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = ["--num_extract_workers", "1", "--num_merge_workers", "1", "--inject_missing_state"]
    places = ["--input_folder", str(state / "checkpoint"), "--output_folder", str(folder / "converted")]
    done = subprocess.run(
        [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", *places, *options],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise IntegrityError(
            "the checkpoint cannot be converted to another number of ranks",
            where=str(state),
            found=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}",
            next="resume on as many ranks as it was written by",
        )
    (folder / "converted").rename(folder / "checkpoint")
    (folder / "latest_universal").write_text("checkpoint", encoding="utf-8")
    return folder


def _quiet() -> None:
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*is deprecated. Please use.*", FutureWarning)
