"""Recipes: training configurations. Each is a module whose docstring is its lab notebook."""

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from planespotter_training.errors import TrainingError

if TYPE_CHECKING:  # config imports NumPy through planespotter_models, which `planespotter --help` must not wait for
    from planespotter_training.recipes.config import Recipe

BASELINE_LADDER = ("scratch", "scratch-augmented", "frozen", "fine-tuned", "fine-tuned-rgb")
"""The steps of the original project, in its order, and the last of them again with its preprocessing."""

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")


def names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.name != "config")


def settings() -> list[str]:
    """Return the names of all settings of a recipe."""
    from planespotter_training.recipes.config import Recipe

    return [field.name for field in fields(Recipe)]


def notebook(name: str) -> str:
    """Return the lab notebook of the recipe called `name`."""
    return _module(name).__doc__ or ""


def load(name: str, changes: Sequence[str] = ()) -> "Recipe":
    """Load a recipe and override settings.

    Args:
        name: Name of the recipe.
        changes: Overrides such as "epochs=5".

    Raises:
        TrainingError: The recipe or setting does not exist, or a value is invalid.
    """
    from planespotter_training.recipes.config import Recipe

    if name not in names():
        raise TrainingError(f"There is no recipe {name!r}. {_did_you_mean(name, names())}")
    recipe: Recipe = _module(name).RECIPE
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Recipe)}
    for change in changes:
        key, _, value = change.partition("=")
        if not value:
            raise TrainingError(f"--set {change!r} is not NAME=VALUE. Give a value: --set {key}=VALUE.")
        if key not in kinds:
            raise TrainingError(f"--set {change!r}: there is no setting {key!r}. {_did_you_mean(key, list(kinds))}")
        try:
            converted: Any = _boolean(value) if kinds[key] is bool else kinds[key](value)
        except ValueError as error:
            what = {int: "a whole number", bool: "true or false"}.get(kinds[key], "a number")
            raise TrainingError(f"--set {change!r}: {key} must be {what}, not {value!r}.") from error
        try:
            recipe = replace(recipe, **{key: converted})
        except ValueError as error:
            raise TrainingError(f"--set {change!r}: {error}.") from error
    return recipe


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a sentence with the known names that resemble `name`, or with all of them if none does."""
    similar = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean {' or '.join(similar)}?" if similar else f"Choose one of: {', '.join(known)}."


def _module(name: str) -> Any:
    return importlib.import_module(f"planespotter_training.recipes.{name.replace('-', '_')}")


def _boolean(value: str) -> bool:
    if value.lower() not in (*YES, *NO):
        raise ValueError(value)
    return value.lower() in YES
