"""A run says how fast it went, how much of it was useful, and where its time was spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from data.store import Rows
from hotline import registry
from hotline.errors import UnavailableError
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.tasks import find
from training import devices
from training.batches import Batches
from training.fit import fit
from training.throughput import PARTS, Meter, matrix_rate


class Notes:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.figures: dict[str, list[tuple[int, float]]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.figures.setdefault(name, []).append((step, value))


@pytest.fixture
def notes() -> Any:
    from pytorch_lightning.loggers import Logger

    class LightningNotes(Notes, Logger):
        name, version = "notes", 0

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            """Nothing is asked about them."""

    return LightningNotes()


def test_every_epoch_logs_speed_useful_ratio_and_shares_of_time(
    tickets: tuple[LabelTree, Rows], tiny: Any, notes: Notes
) -> None:
    tree, rows = tickets
    fit(tiny(budget=100, accumulate=2), find("ticket_category"), tree, rows, rows, logger=notes)
    steps = [step for step, _ in notes.figures["throughput/characters_per_second"]]
    assert len(steps) == 2
    assert steps[1] == 2 * steps[0]
    shares = {part: notes.figures[f"throughput/share_{part}"][-1][1] for part in PARTS}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.pop("communication") == 0  # there is nobody to speak to
    assert min(shares.values()) > 0
    assert "throughput/scaling_efficiency" not in notes.figures
    planned = notes.figures["plan/useful_ratio"][0][1]
    assert notes.figures["throughput/useful_ratio"][0][1] == pytest.approx(planned)


def test_two_ranks_say_what_they_spend_on_one_another(site: Settings, ranks: Any, written: Callable[..., str]) -> None:
    name = written("classifier", "speaking")
    assert ranks.run(site, name)["codes"] == [0, 0]
    run_id = json.loads((site.models / name / "model.json").read_text())["run_id"]
    found = registry.connect(site.tracking_uri).get_run(run_id).data.metrics
    shares = {part: found[f"throughput/share_{part}"] for part in PARTS}
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert 0 < found["throughput/scaling_efficiency"] < 1
    # both ranks wait for one another about as long, so the mean is near the first rank's own share
    assert found["throughput/scaling_efficiency"] == pytest.approx(1 - shares["communication"], abs=0.4)


@pytest.mark.skipif(devices.kind("auto") == "npu", reason="this machine has an NPU")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UnavailableError, match="no NPU that torch can use"):
        devices.for_lightning("npu")


def test_what_goes_in_is_trained_or_dropped_and_the_run_says_which(
    tickets: tuple[LabelTree, Rows], tiny: Any, notes: Notes
) -> None:
    tree, rows = tickets
    fit(tiny(budget=9, too_long="drop"), find("ticket_category"), tree, rows, rows, logger=notes)
    told = {name: values[0][1] for name, values in notes.figures.items() if name.startswith("plan/")}
    assert told["plan/size_dropped"] > 0
    assert told["plan/size_in"] == told["plan/size_trained"] + told["plan/size_dropped"]


def test_utilisation_is_counted_operations_against_the_measured_rate(
    tickets: tuple[LabelTree, Rows], tiny: Any
) -> None:
    class Linear:
        def loss_of(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.nn.functional.linear(batch["x"], torch.zeros(8, 8)).sum()

    _, rows = tickets
    family: Any = type("family", (), {"measure": staticmethod(lambda *_: [(10, 1)] * 64)})
    meter = Meter(Batches(family, None, rows, rows, tiny(batch_rows=4).trainer, 1), "tokens", rate=1e9)
    meter._count_operations(Linear(), ({"x": torch.zeros(40, 8)}, 1.0, 0))
    meter.useful = meter.padded = 640
    operations = 3 * 640 * 2 * 8 * 8  # forward and twice that backward, a product of 8 × 8 per token
    assert meter.figures(2.0)["throughput/mfu"] == pytest.approx(operations / 2.0 / 1e9)


def test_a_matrix_rate_is_measured_on_this_device() -> None:
    assert matrix_rate(torch.device("cpu"), torch.float32, 64, seconds=0.01) > 1e6
