"""Recipes are resolved before anything expensive starts, and say everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from hotline.errors import RecipeError, UnknownName
from training import recipe

RECIPES = sorted((Path(__file__).resolve().parents[2] / "training" / "recipes").glob("*.yaml"))
GOOD = yaml.safe_load(next(path for path in RECIPES if path.stem == "tickets").read_text())


def parse(**changes: object) -> recipe.Recipe:
    return recipe.parse({**GOOD, **changes}, "recipe.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_parses_and_is_named_as_its_file(path: Path) -> None:
    assert recipe.load(path).name == path.stem


def test_an_unknown_key_is_refused_by_its_dotted_path_with_the_next_command() -> None:
    with pytest.raises(RecipeError, match=r"trainer\.epochs") as refused:
        parse(trainer={**GOOD["trainer"], "epochs": 3})
    assert refused.value.next == "edit recipe.yaml"
    assert refused.value.exit_code != 0


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as refused:
        parse(
            model={**GOOD["model"], "width": "wide"},
            optimiser={"learning_rate": -1},
            seed="seven",
            data={"where": {"planet": ["mars"]}},
        )
    for path in ("model.ngrams.width", "optimiser.learning_rate", "seed", "data.where"):
        assert path in str(refused.value)


def test_numbers_written_as_yaml_reads_them_become_numbers() -> None:
    assert parse(optimiser={"learning_rate": "1e-4"}).optimiser.learning_rate == pytest.approx(1e-4)


def test_an_unknown_task_names_the_tasks_there_are() -> None:
    with pytest.raises(RecipeError, match="ticket_category"):
        parse(task="ticket_catgory")


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UnknownName, match="tickets"):
        recipe.load(RECIPES[0].parent / "nonsense.yaml")


def test_a_recipe_cannot_be_changed_and_its_digest_follows_its_content() -> None:
    frozen = parse()
    with pytest.raises(ValidationError):
        frozen.seed = 8  # type: ignore[misc]
    assert frozen.digest == parse().digest
    assert frozen.digest != parse(seed=8).digest


def test_no_recipe_reaches_a_bar() -> None:
    for name in ("bars", "scores", "profile"):
        with pytest.raises(RecipeError, match=name):
            parse(**{name: {}})
