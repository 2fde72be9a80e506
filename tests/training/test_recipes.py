"""Recipes: found by name, changed by name, checked."""

import pytest

from planespotter_training import recipes
from planespotter_training.errors import TrainingError


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_loaded_and_has_a_notebook(name: str) -> None:
    recipes.load(name)
    notebook = __import__(f"planespotter_training.recipes.{name}", fromlist=["__doc__"]).__doc__
    assert notebook
    assert f"--recipe {name}" in notebook


def test_a_setting_can_be_changed_and_keeps_its_kind() -> None:
    recipe = recipes.load("small", ["epochs=3", "learning_rate=0.5"])
    assert (recipe.epochs, recipe.learning_rate) == (3, 0.5)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("huge", [], "There is no recipe 'huge'; choose one of: .*small"),
        ("small", ["epoch=3"], "is not NAME=VALUE with a NAME among: .*epochs"),
        ("small", ["epochs"], "is not NAME=VALUE"),
        ("small", ["epochs=many"], "epochs must be a whole number, not 'many'"),
        ("small", ["epochs=0"], "epochs must be above 0, not 0"),
        ("small", ["learning_rate=nan"], "must be a finite number"),
        ("small", ["height=16"], "at least 32 pixels"),
        ("small", ["dropout=1"], "up to below 1, not 1"),
        ("small", ["weight_decay=-1"], "must not be below 0"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_what_would_be_right(name: str, changes: list[str], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        recipes.load(name, changes)
