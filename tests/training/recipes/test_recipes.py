"""Recipes: loaded by name, overridden by name, validated."""

from dataclasses import fields
from itertools import pairwise

import pytest

from planespotter_training import recipes
from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe, descriptions


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_can_be_loaded_and_has_a_notebook(name: str) -> None:
    recipes.load(name)
    assert f"--recipe {name} " in recipes.notebook(name)


def test_each_step_of_the_baseline_ladder_changes_the_previous_recipe() -> None:
    steps = [recipes.load(name) for name in recipes.BASELINE_LADDER]
    changed = [
        {field.name for field in fields(Recipe) if getattr(step, field.name) != getattr(next_, field.name)}
        for step, next_ in pairwise(steps)
    ]
    assert changed == [
        {"rotation", "shift", "shear", "zoom", "flip", "fill"},
        {"pretrained", "batch_norm", "train_from"},
        {"train_from"},
        {"preprocessing"},
    ]


def test_every_setting_has_a_description() -> None:
    assert list(descriptions()) == recipes.settings()
    assert all(meaning.endswith(".") for meaning in descriptions().values())


def test_a_setting_can_be_overridden_and_keeps_its_type() -> None:
    recipe = recipes.load("small", ["epochs=3", "learning_rate=0.5", "flip_tta=yes", "batch_norm=0", "pooling=flatten"])
    assert (recipe.epochs, recipe.learning_rate) == (3, 0.5)
    assert (recipe.flip_tta, recipe.batch_norm, recipe.pooling) == (True, False, "flatten")
    assert recipes.load("best", ["channel_multiplier=0.125"]).channel_multiplier == 1 / 8


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("huge", [], "There is no recipe 'huge'. Choose one of: .*small"),
        ("smal", [], "There is no recipe 'smal'. Did you mean small"),
        ("small", ["epoch=3"], r"there is no setting 'epoch'\. Did you mean epochs\b"),
        ("small", ["xyzzy=3"], "Choose one of: .*epochs"),
        ("small", ["epochs"], "is not NAME=VALUE"),
        ("small", ["epochs=many"], "epochs must be a whole number, not 'many'"),
        ("small", ["epochs=0"], "epochs must be above 0, not 0"),
        ("small", ["learning_rate=nan"], "must be a finite number"),
        ("small", ["height=16"], "at least 32 pixels"),
        ("small", ["dropout=1"], "up to below 1, not 1"),
        ("small", ["weight_decay=-1"], "must not be below 0"),
        ("small", ["flip_tta=perhaps"], "flip_tta must be true or false, not 'perhaps'"),
        (
            "small",
            ["pooling=largest"],
            r"pooling must be one of average, average\+max, flatten, covariance, not 'largest'",
        ),
        ("small", ["train_from=block9"], "train_from must be one of block1_conv1, .*, heads"),
        ("small", ["randaugment_ops=11"], "randaugment_ops must not be above 10, but is 11"),
    ],
)
def test_an_invalid_name_or_value_is_rejected_with_the_valid_ones(name: str, changes: list[str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        recipes.load(name, changes)
