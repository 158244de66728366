"""Memory is estimated from a real forward pass, and batch sizes are found by trying, without going over the limit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training import memory
from training.recipe import TrainerSection


def test_what_a_forward_pass_keeps_is_counted_once_and_without_the_weights() -> None:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8))
    given = torch.zeros(10, 64)
    kept = memory.kept_for_backward(model, lambda: model(given).sum())
    assert kept == 4 * (10 * 64 + 10 * 256)  # the input, and the hidden layer that two layers share


@pytest.mark.parametrize(
    ("stage", "parts"), [(0, (400, 400, 800)), (1, (400, 400, 200)), (2, (400, 100, 200)), (3, (100, 100, 200))]
)
def test_each_zero_stage_shares_one_part_more(stage: int, parts: tuple[int, int, int]) -> None:
    section = TrainerSection(max_epochs=1, batch_rows=1, deepspeed={"zero_optimization": {"stage": stage}})
    found = memory.estimate(nn.Linear(100, 1, bias=False), section, 4, 0)
    assert (found.weights, found.gradients, found.optimiser) == parts


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_search_finds_the_most_rows_and_never_tries_beyond_the_limit(rows: int) -> None:
    tried = []

    def peak(count: int) -> int:
        tried.append(count)
        return 500 + 30 * count

    found, at_most = memory.most_rows(peak, 2000, rows)
    assert found == min(rows, 50)
    assert at_most == 500 + 30 * found
    assert max(tried) == found


def test_a_row_that_does_not_fit_at_all_is_no_batch() -> None:
    assert memory.most_rows(lambda count: None, 2000, 10) == (0, 0)


def test_the_peak_of_a_step_grows_with_its_batch() -> None:
    model = nn.Linear(1000, 1000)

    def peak(rows: int) -> int:
        found = memory.peak_of_step(
            model, lambda batch: model(batch["x"]).square().sum(), {"x": torch.ones(rows, 1000)}
        )
        assert found is not None
        return found

    assert peak(20_000) > peak(10) + 50_000_000
    assert all(parameter.grad is None for parameter in model.parameters())
