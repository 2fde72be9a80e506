"""Recipes: found by name, changed by name, checked."""

from dataclasses import fields
from itertools import pairwise

import pytest

from planespotter_training import recipes
from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe, described


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_loaded_and_has_a_notebook(name: str) -> None:
    recipes.load(name)
    assert f"--recipe {name} " in recipes.notebook(name)


def test_the_ladder_is_made_of_recipes_each_a_step_from_the_one_before() -> None:
    steps = [recipes.load(name) for name in recipes.LADDER]
    changed = [
        {field.name for field in fields(Recipe) if getattr(one, field.name) != getattr(next_, field.name)}
        for one, next_ in pairwise(steps)
    ]
    assert changed == [
        {"rotation", "shift", "shear", "zoom", "flip", "fill"},
        {"pretrained", "norm", "train_from"},
        {"train_from"},
    ]


def test_every_setting_is_explained() -> None:
    assert list(described()) == recipes.settings()
    assert all(meaning.endswith((".", "is none.")) for meaning in described().values())


def test_a_setting_can_be_changed_and_keeps_its_kind() -> None:
    recipe = recipes.load("small", ["epochs=3", "learning_rate=0.5", "mirror=yes", "norm=0", "pooling=flatten"])
    assert (recipe.epochs, recipe.learning_rate) == (3, 0.5)
    assert (recipe.mirror, recipe.norm, recipe.pooling) == (True, False, "flatten")
    assert recipes.load("best", ["channels=0.125"]).channels == 1 / 8


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
        ("small", ["mirror=perhaps"], "mirror must be true or false, not 'perhaps'"),
        ("small", ["pooling=largest"], r"pooling must be one of average, average\+max, flatten, not 'largest'"),
        ("small", ["train_from=block9"], "train_from must be one of block1_conv1, .*, heads"),
        ("small", ["random_ops=11"], "random_ops must not be above 10, but is 11"),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_what_would_be_right(name: str, changes: list[str], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        recipes.load(name, changes)
