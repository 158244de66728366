"""Everything that differs between devices: CUDA, Ascend NPU (torch_npu, which torch loads by itself) and CPU.

The rest of training asks `torch.accelerator` or this module. Lightning has no accelerator for an NPU: it is here.
"""

from __future__ import annotations

from typing import Any

import psutil
import torch
from pytorch_lightning.accelerators import Accelerator

from hotline.errors import UnavailableError

BACKENDS = {"cuda": "nccl", "npu": "hccl", "cpu": "gloo"}
"""What ranks on such devices speak."""
WANTED = {"gpu": "cuda", "npu": "npu", "cpu": "cpu"}
"""A recipe's `trainer.accelerator`, and torch's name of the device."""


def kind(accelerator: str) -> str:
    """Torch's name of the device that a recipe's accelerator is on this machine; `auto` is the best there is.

    Raises UnavailableError for a device that this machine does not have.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    here = found.type if found is not None and found.type in BACKENDS else "cpu"
    if accelerator == "auto":
        return here
    wanted = WANTED[accelerator]
    if wanted not in (here, "cpu"):
        raise UnavailableError(
            f"this machine has no {accelerator.upper()} that torch can use",
            where="trainer.accelerator",
            found=here,
            expected="torch with torch_npu and CANN" if wanted == "npu" else "a CUDA device and its driver",
            next="hotline doctor, or set trainer.accelerator: auto",
        )
    return wanted


def for_lightning(accelerator: str) -> Any:
    """What Lightning's Trainer takes as its accelerator."""
    return Npu() if kind(accelerator) == "npu" else accelerator


def synchronise(device: torch.device) -> None:
    """Wait until the work queued on the device is done; a CPU queues none."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def free_bytes(device: torch.device) -> int:
    """Memory that a step may still take: of the device, or of this machine, what this process holds included."""
    if device.type != "cpu":
        return int(torch.accelerator.get_memory_info(device)[0])
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


class Npu(Accelerator):
    """An Ascend NPU, through the same calls of torch that serve every other device."""

    def setup_device(self, device: torch.device) -> None:
        torch.accelerator.set_device_index(device)

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return dict(torch.accelerator.memory_stats(device))

    def teardown(self) -> None:
        torch.accelerator.empty_cache()

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        """`auto`, a number of devices or their indices, as indices."""
        if isinstance(devices, list | tuple):
            return list(devices)
        return list(range(Npu.auto_device_count() if devices in ("auto", -1) else int(devices)))

    @staticmethod
    def get_parallel_devices(devices: list[int]) -> list[torch.device]:
        return [torch.device("npu", index) for index in devices]

    @staticmethod
    def auto_device_count() -> int:
        return torch.accelerator.device_count()

    @staticmethod
    def is_available() -> bool:
        return kind("auto") == "npu"

    @staticmethod
    def name() -> str:
        return "npu"
