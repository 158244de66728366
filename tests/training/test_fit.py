"""Small runs in this process: what a step is, and what is refused before one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from data.store import Rows
from hotline.errors import InputError, RecipeError
from hotline.labels import LabelTree
from hotline.tasks import find
from training.fit import fit

TASK = find("ticket_category")
Tickets = tuple[LabelTree, Rows]


def weights(tickets: Tickets, recipe: Any) -> torch.Tensor:
    tree, rows = tickets
    _, model = fit(recipe, TASK, tree, rows, rows)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_an_accumulated_step_is_the_step_of_the_whole_batch(tickets: Tickets, tiny: Any) -> None:
    whole = weights(tickets, tiny(batch_rows=16))
    assert torch.allclose(weights(tickets, tiny(batch_rows=4, accumulate=4)), whole, atol=1e-5)


def test_rows_weigh_the_same_whatever_micro_batch_they_are_in(tickets: Tickets, tiny: Any) -> None:
    """A budget makes micro-batches of few long and of many short rows: the step's mean is over rows all the same."""
    whole = weights(tickets, tiny(batch_rows=64))
    assert torch.allclose(weights(tickets, tiny(budget=100, accumulate=7)), whole, atol=1e-5)


def test_a_row_longer_than_the_budget_is_named_and_refused(tickets: Tickets, tiny: Any) -> None:
    tree, rows = tickets
    inputs = [*rows.inputs[:-1], TASK.input.model_validate({"text": "长" * 101})]
    with pytest.raises(InputError, match="1 of 64 rows are longer than the budget") as refused:
        fit(tiny(budget=100), TASK, tree, replace(rows, inputs=inputs), rows)
    assert "t63 (101 characters)" in str(refused.value)
    assert "too_long: drop" in str(refused.value.next)


def test_it_is_dropped_and_counted_when_the_recipe_says_so(
    tickets: Tickets, tiny: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tree, rows = tickets
    inputs = [*rows.inputs[:-1], TASK.input.model_validate({"text": "长" * 101})]
    with caplog.at_level("INFO", "training"):
        fit(tiny(budget=100, too_long="drop"), TASK, tree, replace(rows, inputs=inputs), rows)
    assert "1 of 64 rows are longer than the budget and dropped: 101 characters" in caplog.text


def test_a_family_that_does_not_pack_says_so(tickets: Tickets, tiny: Any) -> None:
    tree, rows = tickets
    with pytest.raises(RecipeError, match="does not pack"):
        fit(tiny(budget=100, packing=True), TASK, tree, rows, rows)


@pytest.mark.parametrize(
    "trainer", [{}, {"batch_rows": 8, "budget": 100}, {"batch_rows": 8, "packing": True}, {"budget": 9, "sequence": 4}]
)
def test_a_recipe_says_rows_or_budget_and_packs_only_tokens(tiny: Any, trainer: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="trainer"):
        tiny(**trainer)
