"""Begin a run: choose and split the photos, grow the label tree, and write down what is trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from planespotter_models import Label
from planespotter_scraping import catalog
from planespotter_training import run_folder
from planespotter_training.data import dataset
from planespotter_training.data.build_label_tree import grow
from planespotter_training.data.split import SPLITS, assign, keep_out, sides_by_source
from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe

HELDOUT_COLUMNS = ("photo_id", "file", "constructor", "family", "model", "source", "registration")


def check_same(
    begun: run_folder.Run,
    recipe: Recipe,
    constructors: Sequence[str],
    catalog_folder: Path,
    sha256: str,
    out: Path,
    start: str = "",
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Raise TrainingError unless the run in `out` was begun with just these."""
    changed = [name for name, value in vars(begun.recipe).items() if getattr(recipe, name) != value]
    if Path(begun.catalog) != catalog_folder.resolve():
        difference = f"of the catalog {begun.catalog}"
    elif changed:
        settings = ", ".join(f"{name}={getattr(begun.recipe, name)}" for name in changed)
        difference = f"recipe {begun.recipe_name} with {settings}"
    elif sorted(map(str.lower, begun.constructors)) != sorted({name.lower() for name in constructors}):
        difference = f"of the constructors {', '.join(begun.constructors)}"
    elif begun.catalog_sha256 != sha256:
        difference = f"of {begun.catalog} as it was before it changed"
    elif begun.start != start:
        difference = f"begun with {begun.start or 'random weights'}"
    elif _folded(begun.left_out) != _folded(left_out or {}):
        names = ", ".join(name for names in begun.left_out.values() for name in names)
        difference = f"with {names or 'nothing'} left out of training"
    else:
        return
    raise TrainingError(
        f"{out} holds another run, {difference}. Name another folder with --out, or give what that run was begun with "
        "to go on with it."
    )


def begin(
    photos: pd.DataFrame,
    catalog_folder: Path,
    sha256: str,
    recipe_name: str,
    recipe: Recipe,
    out: Path,
    constructors: Sequence[str],
    console: Console,
    start: str = "",
    left_out: Mapping[str, Sequence[str]] | None = None,
    like: Path | None = None,
) -> run_folder.Run:
    """Split `photos`, grow the tree and write the run folder `out`: run.json last, so a run is whole or not there.

    `photos` is the catalog in `catalog_folder`, `sha256` that of its catalog.csv. `start` says where the first weights
    are from. All photos of the "sources" and "airlines" in `left_out` go to the test side, with those of the
    same airframes and those that look like them. If the run `like` is trained on the very same photos, the two share
    the files of its data set. Raises TrainingError or CatalogError.
    """
    _check_free(out)
    with console.status("Checking the photos"):
        catalog.check(catalog_folder, photos, hashes=True)
    with console.status("Looking for photos that look alike"):
        looks = catalog.near_duplicate_groups(catalog_folder, photos)
    photos["split"] = assign(photos, looks)
    kept_out = {column: list(names) for column, names in (left_out or {}).items() if names}
    chosen = pd.Series(False, index=photos.index)
    for column, names in kept_out.items():
        chosen |= _left_out(photos, column.removesuffix("s"), names)
    sides = keep_out(photos["split"], photos, looks, chosen)
    drawn_along = (sides != photos["split"]) & ~chosen
    photos["split"] = sides
    constructors = _known_constructors(constructors, photos)
    inside = photos["constructor"].isin(constructors)
    # Aircraft of other constructors are kept for the test: they should be answered with "unknown".
    outside = ~photos["constructor"].isin(["", *constructors]) & (photos["split"] == "test")

    notes = []

    def skip(file: str, error: Exception) -> None:
        console.print(f"Left out {file}: {error}", style="yellow", highlight=False, soft_wrap=True)
        notes.append(f"{file}: cannot be read; left out")

    with console.status("Decoding every photo once"):
        used = dataset.readable(photos[inside | outside], catalog_folder, skip)
    trained = used[used["split"] == "train"]
    lacking = [name for name in constructors if name not in set(trained["constructor"])]
    if lacking:
        less = "leave less out of training" if kept_out else "leave them out with --constructors"
        raise TrainingError(
            f"None of the photos of {', '.join(lacking)} falls to the training side. Collect more photos of them, or "
            f"{less}."
        )
    if recipe.batch_size > len(trained):
        raise TrainingError(
            f"A batch of {recipe.batch_size} photos is more than the {len(trained)} to train on. "
            "Choose a smaller one with --set batch_size=..., or collect more photos."
        )
    with console.status("Writing the data set"):
        out.mkdir(parents=True, exist_ok=True)
        split = used[[*HELDOUT_COLUMNS, "airline", "sha256", "split"]].to_csv(index=False)
        if like is not None and _text(like / "split.csv") == split:
            dataset.share(like / "dataset", out / "dataset")
        else:
            dataset.prepare(used, catalog_folder, out / "dataset")

    labels = [Label(*row) for row in trained[["constructor", "family", "model"]].itertuples(index=False)]
    tree, fallen_back = grow(labels, constructors, recipe.min_photos)
    notes += fallen_back
    counts = trained.groupby(["source", "constructor"]).size()
    sources = {
        str(source): {str(name): int(n) for name, n in counts[source].items()}
        for source in sorted(set(trained["source"]))
    }
    for source, of_source in sources.items():
        if len(of_source) == 1:
            notes.append(
                f"source {source or '(none)'}: shows one constructor only, so a photo of it counts "
                f"{recipe.lone_weight:g} instead of about 1 for the constructor head"
            )
    if drawn_along.any():
        notes.append(
            f"{drawn_along.sum():,} more photos are kept for the test: they show the same airframes as those left out "
            "by name, or look like them"
        )
    unregistered = int((used["registration"] == "").sum())
    if unregistered:
        notes.append(
            f"{unregistered:,} of {len(used):,} photos have no registration: each counts as an airframe of its own"
        )
    if like is None:
        _show_sides(used, looks, console)
    (out / "split.csv").write_text(split, encoding="utf-8", newline="")
    heldout = used[used["split"] == "test"][list(HELDOUT_COLUMNS)].copy()
    heldout["file"] = [str((catalog_folder / file).resolve()) for file in heldout["file"]]
    heldout.to_csv(out / "heldout.csv", index=False)
    begun = run_folder.Run(
        recipe_name=recipe_name,
        recipe=recipe,
        catalog=str(catalog_folder.resolve()),
        catalog_sha256=sha256,
        constructors=constructors,
        tree=tree,
        photos={split: int((used["split"] == split).sum()) for split in SPLITS},
        sources=sources,
        notes=notes,
        start=start,
        left_out=kept_out,
    )
    run_folder.write(begun, out)
    return begun


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _show_sides(used: pd.DataFrame, looks: pd.Series, console: Console) -> None:
    """Print how many photos of each source are on which side, and that no aircraft or look is on several."""
    sides = sides_by_source(used, looks)
    table = Table("source", *(Column(name, justify="right") for name in sides.columns), box=None)
    for source, counts in sides.iterrows():
        table.add_row(str(source) or "(none)", *(f"{count:,}" for count in counts))
    console.print(table)


def _folded(left_out: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {column: sorted(map(str.lower, names)) for column, names in left_out.items() if names}


def _left_out(photos: pd.DataFrame, column: str, names: Sequence[str]) -> pd.Series:
    """Return which photos have one of `names` in `column`. Raises TrainingError for a name that no photo has."""
    folded = photos[column].str.lower()
    for name in names:
        if name.lower() not in set(folded):
            common = photos[column][photos[column] != ""].value_counts().head(8)
            known = ", ".join(f"{other} ({count})" for other, count in common.items())
            raise TrainingError(
                f"No photo of the catalog has the {column} {name!r}. The most frequent are: {known or 'none is named'}."
            )
    return folded.isin([name.lower() for name in names])


def _check_free(out: Path) -> None:
    """Raise TrainingError unless `out` is not there, is empty, or holds only what a run leaves that was not begun."""
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file. Name a folder with --out.")
    known = ("split.csv", "heldout.csv", "dataset/catalog_photos", "dataset/downloads")
    held = [path for path in out.iterdir() if path.name != "dataset"] if out.exists() else []
    held += (out / "dataset").iterdir() if (out / "dataset").is_dir() else []
    strangers = [
        str(path.relative_to(out)) for path in held if not str(path.relative_to(out)).startswith((*known, ".run"))
    ]
    if strangers:
        raise TrainingError(
            f"{out} holds what is no part of a run ({strangers[0]}), so it is left alone. "
            "Name another folder with --out."
        )


def _known_constructors(names: Sequence[str], photos: pd.DataFrame) -> list[str]:
    """Return `names` as the catalog spells them, each once. Raises TrainingError unless it has two or more of them."""
    counts = photos["constructor"].value_counts()
    spelling = {str(name).lower(): str(name) for name in counts.index if name}
    missing = [name for name in names if name.lower() not in spelling]
    found = list(dict.fromkeys(spelling[name.lower()] for name in names if name.lower() in spelling))
    if missing or len(found) < 2:
        known = ", ".join(f"{name} ({counts[name]})" for name in spelling.values())
        lacking = f"the catalog has none of {', '.join(missing)}" if missing else f"only {', '.join(found)} was named"
        raise TrainingError(
            f"Training needs photos of two constructors or more; {lacking}. "
            f"The catalog has: {known or 'no photos'}. Choose with --constructors."
        )
    return found
