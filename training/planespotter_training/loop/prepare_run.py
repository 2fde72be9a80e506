"""Run preparation: assign splits, build the label tree, write the dataset and record what is trained on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from planespotter_models import Label
from planespotter_scraping import catalog
from planespotter_scraping.catalog import RENDER_SOURCE, count_noun
from planespotter_training import run_folder
from planespotter_training.atomic_write import lock, write_text
from planespotter_training.data import dataset
from planespotter_training.data.build_label_tree import build_label_tree, extend_label_tree
from planespotter_training.data.split import SPLITS, assign, hold_out, splits_by_source, train_only
from planespotter_training.errors import TrainingError
from planespotter_training.loop.job import TrainJob
from planespotter_training.phases import phase

HELDOUT_COLUMNS = ("photo_id", "file", "constructor", "family", "model", "source", "registration")


@contextmanager
def locked_run(job: TrainJob, console: Console) -> Iterator[None]:
    """Lock the run folder, and create the run unless it exists.

    Raises:
        TrainingError: Another process trains there, or the folder holds another run or other files.
        CatalogError: The catalog cannot be read, or an image is missing or altered.
    """
    photos = catalog.read(job.catalog)
    sha256 = hashlib.sha256((job.catalog / "catalog.csv").read_bytes()).hexdigest()
    if not job.out.exists():
        job.out.mkdir(parents=True)
    if not job.out.is_dir():
        raise TrainingError(f"{job.out} is a file. Name a folder with --out.")
    with lock(job.out):
        if (job.out / "run.json").is_file():
            check_same(job, sha256)
        else:
            create_run(job, photos, sha256, console)
        yield


def check_same(job: TrainJob, sha256: str) -> None:
    """Raise TrainingError unless the run in `job.out` was created with this job and catalog.csv."""
    run = run_folder.read(job.out)
    changed = [name for name, value in vars(run.recipe).items() if getattr(job.recipe, name) != value]
    if Path(run.catalog) != job.catalog.resolve():
        difference = f"of the catalog {run.catalog}"
    elif changed:
        settings = ", ".join(f"{name}={getattr(run.recipe, name)}" for name in changed)
        difference = f"recipe {run.recipe_name} with {settings}"
    elif sorted(map(str.lower, run.constructors)) != sorted({name.lower() for name in job.constructors}):
        difference = f"of the constructors {', '.join(run.constructors)}"
    elif run.catalog_sha256 != sha256:
        difference = f"of {run.catalog} before it changed"
    elif run.initial_weights != job.origin:
        difference = f"with other initial weights: {run.initial_weights or 'random'}"
    elif run.teacher != job.teacher_name:
        difference = f"distilled from {run.teacher}" if run.teacher else "without a teacher"
    elif _folded(run.held_out) != _folded(job.held_out):
        names = ", ".join(name for names in run.held_out.values() for name in names)
        difference = f"with {names or 'nothing'} held out"
    elif _named_train_only(run.train_only) != _named_train_only(job.train_only):
        difference = f"with {', '.join(run.train_only) or 'no source'} for training only"
    else:
        return
    raise TrainingError(
        f"{job.out} holds another run, {difference}. Name another folder with --out, or repeat the arguments of that "
        "run to resume it."
    )


def create_run(job: TrainJob, photos: pd.DataFrame, sha256: str, console: Console) -> run_folder.Run:
    """Split the photos, build the label tree and write the run folder.

    run.json is written last, so that a run is complete or does not exist. If `job.shared_dataset` has the same photos,
    its dataset files are shared.

    Args:
        job: The training.
        photos: Rows of the catalog; a column `split` is added.
        sha256: Hash of catalog.csv.
        console: For progress and skipped photos.

    Raises:
        TrainingError: The folder holds other files, or there are too few photos.
        CatalogError: An image is missing or altered.
    """
    _check_free(job.out)
    with phase(console, "Checking the photos"):
        catalog.check(job.catalog, photos, hashes=True)
    with phase(console, "Searching for near duplicates"):
        near_duplicates = catalog.near_duplicate_groups(job.catalog, photos)
    held_out = {column: list(names) for column, names in job.held_out.items() if names}
    for_training = train_only_sources(job, photos)
    photos["split"], moved_along = _assign_splits(photos, near_duplicates, held_out, for_training)
    unused = photos["split"] == ""
    kept_tree = job.initial.tree if job.recipe.keep_types and job.initial else None
    constructors = _known_constructors(job.constructors, photos) if kept_tree is None else list(kept_tree.constructors)
    inside = photos["constructor"].isin(constructors)
    # What is outside the taxonomy should be predicted as unknown: it trains the `other` output, or is in the test split
    # only.
    outside = ~photos["constructor"].isin(["", *constructors])
    if not job.recipe.other_output:
        outside &= photos["split"] == "test"
    notes = list(unused_notes(photos.loc[~(inside | outside), "constructor"], constructors))
    if job.recipe.exact_labels:
        inexact = inside & (photos["model"] == "")
        inside &= ~inexact
        if inexact.any():
            inexact_photos = count_noun(int(inexact.sum()), "photo is", "photos are")
            notes.append(f"{inexact_photos} not used: the label names no model (exact_labels)")

    def skip(file: str, error: Exception) -> None:
        console.print(f"Skipped {file}: {error}", style="yellow", highlight=False, soft_wrap=True)
        notes.append(f"{file}: cannot be decoded; skipped")

    with phase(console, "Decoding every photo once"):
        used = dataset.readable(photos[(inside | outside) & ~unused], job.catalog, skip)
    trained = used[used["split"] == "train"]
    _check_enough(job, trained, constructors if kept_tree is None else (), held_out)
    with phase(console, "Writing the dataset"):
        job.out.mkdir(parents=True, exist_ok=True)
        split_csv = used[[*HELDOUT_COLUMNS, "airline", "sha256", "split"]].to_csv(index=False)
        if job.shared_dataset is not None and _text(job.shared_dataset / "split.csv") == split_csv:
            dataset.share(job.shared_dataset / "dataset", job.out / "dataset")
        else:
            dataset.prepare(used, job.catalog, job.out / "dataset")
    labels = [Label(*row) for row in trained[["constructor", "family", "model"]].itertuples(index=False)]
    tree, fallbacks = build_label_tree(labels, constructors, job.recipe.min_photos, other=job.recipe.other_output)
    if kept_tree is not None:
        tree = extend_label_tree(kept_tree, tree)
    sources = _count_sources(trained)
    notes += [*fallbacks, *_notes(job, used, sources, moved_along, int((unused & (inside | outside)).sum()))]
    if job.shared_dataset is None:
        _show_splits(used, near_duplicates, console)
    write_text(job.out / "split.csv", split_csv)
    heldout = used[used["split"] == "test"][list(HELDOUT_COLUMNS)].copy()
    heldout["file"] = [str((job.catalog / file).resolve()) for file in heldout["file"]]
    write_text(job.out / "heldout.csv", heldout.to_csv(index=False))
    run = run_folder.Run(
        recipe_name=job.recipe_name,
        recipe=job.recipe,
        catalog=str(job.catalog.resolve()),
        catalog_sha256=sha256,
        constructors=constructors,
        tree=tree,
        photos={split: int((used["split"] == split).sum()) for split in SPLITS},
        sources=sources,
        notes=notes,
        initial_weights=job.origin,
        held_out=held_out,
        teacher=job.teacher_name,
        train_only=for_training,
    )
    run_folder.write(run, job.out)
    return run


def train_only_sources(job: TrainJob, photos: pd.DataFrame) -> list[str]:
    """Return the sources whose photos `job` uses for training only, as the catalog spells them.

    Renders are among them unless they are held out by name.

    Raises:
        TrainingError: A source has no photo, or is held out too.
    """
    held_out = {name.lower() for name in job.held_out.get("sources", ())}
    for name in job.train_only:
        if name.lower() in held_out:
            raise TrainingError(f"The source {name!r} is both held out and used for training only. Choose one of them.")
    selected = _select(photos, "source", job.train_only)
    if RENDER_SOURCE not in held_out:
        selected |= photos["source"].str.lower() == RENDER_SOURCE
    return sorted(set(photos["source"][selected]))


def _assign_splits(
    photos: pd.DataFrame,
    near_duplicates: pd.Series,
    held_out: Mapping[str, Sequence[str]],
    for_training: Sequence[str],
) -> tuple[pd.Series, int]:
    """Return the split of each photo, and how many photos were held out along with those named by `held_out`.

    A photo of a source in `for_training` has the split "" if it is held out: it is not used at all.
    """
    of_training = _select(photos, "source", for_training)
    splits = train_only(assign(photos, near_duplicates), photos, near_duplicates, of_training)
    selected = pd.Series(False, index=photos.index)
    for column, names in held_out.items():
        selected |= _select(photos, column.removesuffix("s"), names)
    after = hold_out(splits, photos, near_duplicates, selected).mask(lambda split: of_training & (split == "test"), "")
    return after, int(((after == "test") & (splits != "test") & ~selected).sum())


def _check_enough(
    job: TrainJob, trained: pd.DataFrame, constructors: Sequence[str], held_out: Mapping[str, Sequence[str]]
) -> None:
    missing = [name for name in constructors if name not in set(trained["constructor"])]
    if missing:
        fix = "hold out less" if held_out else "exclude them with --constructors"
        raise TrainingError(
            f"The train split has no photos of {', '.join(missing)}. Collect more photos of them, or {fix}."
        )
    if job.recipe.batch_size > len(trained):
        raise TrainingError(
            f"batch_size is {job.recipe.batch_size}, but the train split has only {count_noun(len(trained), 'photo')}. "
            "Choose a smaller one with --set batch_size=..., or collect more photos."
        )


def _count_sources(trained: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts = trained.groupby(["source", "constructor"]).size()
    return {
        str(source): {str(name): int(n) for name, n in counts[source].items()}
        for source in sorted(set(trained["source"]))
    }


def unused_notes(unused: pd.Series, constructors: Sequence[str]) -> Iterator[str]:
    """Yield which photos a run does not use, and why.

    Args:
        unused: Constructor of each photo that is not used; empty if it has no label.
        constructors: Constructors of the label tree.
    """
    counts = unused[unused != ""].value_counts()
    if len(counts):
        shown = ", ".join(f"{constructor} {count:,}" for constructor, count in counts.items())
        photos = count_noun(int(counts.sum()), "photo is", "photos are")
        yield f"{photos} not used for training: the constructor is not {' or '.join(constructors)} ({shown})"
    if unlabelled := int((unused == "").sum()):
        yield f"{count_noun(unlabelled, 'photo is', 'photos are')} not used: the label names no constructor"


def _notes(
    job: TrainJob, used: pd.DataFrame, sources: Mapping[str, Mapping[str, int]], moved_along: int, unused: int
) -> Iterator[str]:
    """Yield what a reader of the results must know about the photos."""
    for source, counts in sources.items():
        if len(counts) == 1 and next(iter(counts)).lower() in map(str.lower, job.constructors):
            yield (
                f"source {source or '(none)'}: shows one constructor only, so a photo of it weighs "
                f"{job.recipe.single_constructor_weight:g} instead of about 1 in the constructor head"
            )
    if moved_along:
        yield (
            f"{count_noun(moved_along, 'more photo is', 'more photos are')} held out: of the same airframes as those "
            "held out by name, or near duplicates of them"
        )
    if unused:
        yield (
            f"{count_noun(unused, 'photo is', 'photos are')} not used: of sources for training only, and of what is "
            "held out, the same airframes, or near duplicates"
        )
    unregistered = int((used["registration"] == "").sum())
    if unregistered:
        yield (
            f"{count_noun(unregistered, 'photo')} of {len(used):,} without a registration: each counts as a separate "
            "airframe"
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _show_splits(used: pd.DataFrame, near_duplicates: pd.Series, console: Console) -> None:
    """Print the number of photos of each source in each split, and that nothing leaks between splits."""
    splits = splits_by_source(used, near_duplicates)
    table = Table("source", *(Column(name, justify="right") for name in splits.columns), box=None)
    for source, counts in splits.iterrows():
        table.add_row(str(source) or "(none)", *(f"{count:,}" for count in counts))
    console.print(table)


def _folded(held_out: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {column: sorted(map(str.lower, names)) for column, names in held_out.items() if names}


def _named_train_only(sources: Sequence[str]) -> set[str]:
    """Return `sources` without renders, which are for training only in every run."""
    return {name.lower() for name in sources} - {RENDER_SOURCE}


def _select(photos: pd.DataFrame, column: str, names: Sequence[str]) -> pd.Series:
    """Return a mask of the photos with one of `names` in `column`. Raises TrainingError for a name without photos."""
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
    """Raise TrainingError unless `out` does not exist, is empty, or holds only what an interrupted preparation left."""
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file. Name a folder with --out.")
    names = ("split.csv", "heldout.csv", "run.json", ".run")
    known = (*names, "native-", *(f".{name}" for name in names), "dataset/catalog_photos", "dataset/downloads")
    present = [path for path in out.iterdir() if path.name != "dataset"] if out.exists() else []
    present += (out / "dataset").iterdir() if (out / "dataset").is_dir() else []
    unknown = [str(path.relative_to(out)) for path in present if not str(path.relative_to(out)).startswith(known)]
    if unknown:
        raise TrainingError(f"{out} holds other files than a run ({unknown[0]}). Name another folder with --out.")


def _known_constructors(names: Sequence[str], photos: pd.DataFrame) -> list[str]:
    """Return unique `names` as the catalog spells them. Raises TrainingError if it has fewer than two."""
    counts = photos["constructor"].value_counts()
    spelling = {str(name).lower(): str(name) for name in counts.index if name}
    missing = [name for name in names if name.lower() not in spelling]
    known = list(dict.fromkeys(spelling[name.lower()] for name in names if name.lower() in spelling))
    if missing or len(known) < 2:
        available = ", ".join(f"{name} ({counts[name]})" for name in spelling.values())
        fault = f"the catalog has none of {', '.join(missing)}" if missing else f"only {', '.join(known)} was named"
        raise TrainingError(
            f"Training needs photos of two constructors or more; {fault}. "
            f"The catalog has: {available or 'no photos'}. Choose with --constructors."
        )
    return known
