"""Recipes: how to train. Each is a file of its own, whose docstring is its lab notebook."""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe

LADDER = ("scratch", "scratch-augmented", "frozen", "fine-tuned")
"""The steps of the original project, in its order."""

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")


def names() -> list[str]:
    """Return the names of all recipes."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.name != "config")


def settings() -> list[str]:
    """Return the names of what a recipe decides."""
    return [field.name for field in fields(Recipe)]


def notebook(name: str) -> str:
    """Return the lab notebook of the recipe called `name`."""
    return _module(name).__doc__ or ""


def load(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe called `name` with `changes` such as "epochs=5" made to it. Raises TrainingError."""
    if name not in names():
        raise TrainingError(f"There is no recipe {name!r}; choose one of: {', '.join(names())}.")
    recipe: Recipe = _module(name).RECIPE
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Recipe)}
    for change in changes:
        key, _, value = change.partition("=")
        if key not in kinds or not value:
            raise TrainingError(f"--set {change!r} is not NAME=VALUE with a NAME among: {', '.join(kinds)}.")
        try:
            converted: Any = _truth(value) if kinds[key] is bool else kinds[key](value)
        except ValueError as error:
            what = {int: "a whole number", bool: "true or false"}.get(kinds[key], "a number")
            raise TrainingError(f"--set {change!r}: {key} must be {what}, not {value!r}.") from error
        try:
            recipe = replace(recipe, **{key: converted})
        except ValueError as error:
            raise TrainingError(f"--set {change!r}: {error}.") from error
    return recipe


def _module(name: str) -> Any:
    return importlib.import_module(f"planespotter_training.recipes.{name.replace('-', '_')}")


def _truth(value: str) -> bool:
    if value.lower() not in (*YES, *NO):
        raise ValueError(value)
    return value.lower() in YES
