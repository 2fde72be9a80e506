"""Photos to review: from a catalog, with or without predictions, or from a file of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.catalog import LABEL_PATH, CatalogError
from planespotter_scraping.catalog.predictions import PredictionRow, contradict, read_prediction_file
from planespotter_scraping.explore.disagreements import read_predictions

PREDICTION_SUFFIXES = (".csv", ".jsonl", ".parquet", ".tsv", ".txt")


class ReviewError(CatalogError):
    """A review that cannot start, or a decision that cannot be taken; the text is for users."""


@dataclass(frozen=True)
class ReviewPhoto:
    """A photo to review, with what is proposed for it: its label in a catalog, or else a prediction.

    Attributes:
        key: What identifies the photo in the decision log: its photo_id, or its path in the file of predictions.
        path: The image file.
        proposal: Proposed path, constructor first; empty if there is none.
        is_label: Whether the proposal is a label, not a prediction.
        confident: How many levels of the predicted path are confident, 0 to 3; None without a prediction.
        confidence: Probability of the predicted path; None without a prediction.
        candidates: Probable types with their probabilities, the most probable first.
        suspicion: Probability of a confident prediction that contradicts the label; 0 if there is none.
        conflict: If two predictions contradict each other, the lower one of their probabilities; else 0.
        notes: What else is known about the photo, as sentences.
    """

    key: str
    path: Path
    proposal: tuple[str, ...]
    is_label: bool
    confident: int | None = None
    confidence: float | None = None
    candidates: tuple[tuple[str, float], ...] = ()
    suspicion: float = 0.0
    conflict: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reviewable:
    """What a review is about.

    Attributes:
        photos: The photos.
        folder: Folder of the reviewed catalog; None if predictions are reviewed.
        out: Folder of the catalog in which the review ends: `folder`, or a separate one.
        models: How many files of predictions there are.
    """

    photos: list[ReviewPhoto]
    folder: Path | None
    out: Path
    models: int


def load(
    source: Path, predictions: Sequence[Path] = (), out: Path | None = None, root: Path | None = None
) -> Reviewable:
    """Load what to review.

    Args:
        source: Folder of a catalog, or a file of predictions.
        predictions: Further predictions of the same photos: of a catalog, or by a second network.
        out: Folder of the catalog for the reviewed photos of a file of predictions.
        root: Folder that relative paths in the predictions are relative to; None for the current one.

    Raises:
        CatalogError: The catalog or the predictions cannot be used, or they have no photos.
    """
    if source.is_dir():
        if out is not None and out.resolve() != source.resolve():
            raise ReviewError(f"The review of a catalog changes {source} itself. Omit --out, or review a copy of it.")
        photos = load_catalog(source, predictions)
        if not photos:
            raise ReviewError(f"The catalog in {source} has no photos. Add some with planespotter scrape or import.")
        return Reviewable(photos, source, source, len(predictions))
    if not source.exists() or source.suffix.lower() not in PREDICTION_SUFFIXES:
        raise ReviewError(
            f"{source} is neither the folder of a catalog nor a file of predictions. Make one with: planespotter "
            "classify PHOTOS --out answers.csv"
        )
    if out is None:
        raise ReviewError(f"Name the folder for the reviewed photos of {source.name}: --out CATALOG.")
    return Reviewable(load_predictions([source, *predictions], root), None, out, 1 + len(predictions))


def load_catalog(folder: Path, predictions: Sequence[Path] = ()) -> list[ReviewPhoto]:
    """Load the photos of a catalog, and what predictions say of them.

    Raises:
        CatalogError: The catalog or the predictions cannot be used.
    """
    frame = catalog.read(folder)
    by_model = [read_predictions(folder, frame, file) for file in predictions]
    rows = ({str(name): str(value) for name, value in row.items()} for row in frame.to_dict("records"))
    return [_of_catalog(folder, row, [each[row["file"]] for each in by_model if row["file"] in each]) for row in rows]


def load_predictions(files: Sequence[Path], root: Path | None = None) -> list[ReviewPhoto]:
    """Load the photos of files of predictions; the proposals are those of the first file.

    Raises:
        CatalogError: A file cannot be used, or none of its photos exists.
    """
    first, *further = ({row.file: row for row in read_prediction_file(file) if row.best_guess} for file in files)
    photos, missing = [], []
    for name, row in first.items():
        path = (root or Path()) / name
        if path.is_file():
            photos.append(_of_predictions(path, [row, *(each[name] for each in further if name in each)]))
        else:
            missing.append(name)
    if missing and not photos:
        raise ReviewError(
            f"No photo of {files[0]} exists, such as {missing[0]}. Run the command where the photos were classified, "
            "or give --root FOLDER."
        )
    if not photos:
        raise ReviewError(f"{files[0]} has no predictions of photos. Classify photos, and review that file.")
    return photos


def _of_catalog(folder: Path, row: Mapping[str, str], predictions: Sequence[PredictionRow]) -> ReviewPhoto:
    label = tuple(name for name in (row[level] for level in LABEL_PATH) if name)
    first = predictions[0] if predictions else None
    notes = [" · ".join(filter(None, (row.get("airline", ""), row.get("registration", "")))), row.get("review", "")]
    contradicts = first is not None and bool(label) and contradict(label, first.confident)
    return ReviewPhoto(
        key=row["photo_id"],
        path=folder / row["file"],
        proposal=label or (first.best_guess if first else ()),
        is_label=bool(label),
        confident=len(first.confident) if first else None,
        confidence=first.confidence if first else None,
        candidates=_candidates(first),
        suspicion=(first.probability or 0.0) if first and contradicts else 0.0,
        conflict=_conflict(predictions),
        notes=tuple(filter(None, (*notes, *_other_models(predictions)))),
    )


def _of_predictions(path: Path, predictions: Sequence[PredictionRow]) -> ReviewPhoto:
    first = predictions[0]
    return ReviewPhoto(
        key=first.file,
        path=path,
        proposal=first.best_guess,
        is_label=False,
        confident=len(first.confident),
        confidence=first.confidence,
        candidates=_candidates(first),
        conflict=_conflict(predictions),
        notes=tuple(_other_models(predictions)),
    )


def _candidates(prediction: PredictionRow | None) -> tuple[tuple[str, float], ...]:
    """Return the candidates of a prediction, at least its best guess."""
    if prediction is None or not prediction.best_guess:
        return ()
    return prediction.candidates or ((full_name(prediction.best_guess), prediction.confidence),)


def _conflict(predictions: Sequence[PredictionRow]) -> float:
    first, *further = predictions or (None,)
    contradicting = [
        min(first.confidence, each.confidence)
        for each in further
        if first and contradict(first.best_guess, each.best_guess)
    ]
    return max(contradicting, default=0.0)


def _other_models(predictions: Sequence[PredictionRow]) -> list[str]:
    """Return what further networks predict, as sentences."""
    return [
        f"Network {number}: {full_name(each.best_guess)} ({each.confidence:.0%})."
        for number, each in enumerate(predictions[1:], start=2)
        if each.best_guess
    ]


def full_name(path: Sequence[str]) -> str:
    """Return constructor and deepest level of a path, such as "Boeing 737-800"."""
    return " ".join(dict.fromkeys((path[0], path[-1]))) if path else ""
