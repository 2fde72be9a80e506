"""Disagreements: photos whose label a network contradicts with confidence."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from planespotter_scraping.catalog import LABEL_PATH, CatalogError
from planespotter_scraping.catalog.label_files import decode_text, delimiter_of, match_files

PROBABILITY = re.compile(r"[01](\.\d+)?(e-\d+)?")
NEEDED = ("file", *LABEL_PATH, "probability")
OPTIONAL = ("best_guess_constructor_probability",)

Prediction = Mapping[str, str]
"""A row of a file of predictions, with the columns NEEDED and OPTIONAL."""


@dataclass(frozen=True)
class Disagreement:
    """A photo with its label, and the confident prediction that contradicts it.

    Attributes:
        photo_id: Id of the photo.
        label: The label.
        prediction: The prediction, down to its confidence level.
        probability: Its probability, from 0 to 1.
    """

    photo_id: str
    label: str
    prediction: str
    probability: float


def read_predictions(folder: Path, frame: pd.DataFrame, predictions: Path) -> dict[str, Prediction]:
    """Read the predictions of a catalog's photos.

    Args:
        folder: Folder of the catalog.
        frame: Catalog, as `catalog.read` returns it.
        predictions: CSV file of `planespotter classify --out`. Photos of other folders are skipped.

    Returns:
        The predictions by file.

    Raises:
        CatalogError: The predictions cannot be read, or none of them is of a photo of this catalog.
    """
    by_name = {_relative(row["file"], folder): row for row in _read(predictions)}
    matched = match_files(by_name, set(frame["file"]))
    if not matched:
        raise CatalogError(
            f"{predictions} has no predictions of photos in {folder}. Make them with: planespotter classify {folder} "
            "--out predictions.csv"
        )
    return {file: by_name[name] for name, file in matched.items()}


def find_disagreements(frame: pd.DataFrame, predicted: Mapping[str, Prediction]) -> list[Disagreement]:
    """Compare the labels of a catalog with the predictions of its photos.

    Only confident levels count, and only those that the label names. A network that was trained on these labels has
    partly learnt their errors; one that was not finds more.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        predicted: Predictions by file; failed photos have an empty probability.

    Returns:
        The disagreements, the most confident first.
    """
    disagreements = [
        Disagreement(str(photo["photo_id"]), _name(photo), _name(prediction), float(prediction["probability"]))  # type: ignore[arg-type]
        for photo in frame.to_dict("records")
        if (prediction := predicted.get(photo["file"])) and _contradict(photo, prediction)  # type: ignore[arg-type]
    ]
    return sorted(disagreements, key=lambda item: (-item.probability, item.photo_id))


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file of predictions. Raises CatalogError if the file cannot be used."""
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise CatalogError(f"The predictions in {path} cannot be read: {error.strerror}. Check the path.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise CatalogError(
            f"{path} is not a CSV file of predictions: it has no column {missing[0]!r}. Make it with: planespotter "
            "classify CATALOG --out predictions.csv"
        )
    rows = [{name: row.get(name) or "" for name in (*NEEDED, *OPTIONAL)} for row in reader]
    for row in rows:
        for name in ("probability", *OPTIONAL):
            row[name] = row[name].replace(",", ".")  # of a spreadsheet
    return rows


def _relative(file: str, folder: Path) -> str:
    """Return a path that the command line printed, relative to the catalog if it is in it."""
    for base in (folder, folder.resolve()):
        if Path(file).is_relative_to(base):
            return Path(file).relative_to(base).as_posix()
    return file


def _contradict(label: Mapping[str, str], prediction: Mapping[str, str]) -> bool:
    """Return whether label and confident prediction differ at a level that both name."""
    return PROBABILITY.fullmatch(prediction["probability"]) is not None and any(
        label[level] and prediction[level] and label[level] != prediction[level] for level in LABEL_PATH
    )


def _name(path: Mapping[str, str]) -> str:
    return " ".join(filter(None, (path["constructor"], path["model"] or path["family"])))
