"""Disagreements: photos whose label a network contradicts with confidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from planespotter_scraping.catalog import LABEL_PATH, CatalogError
from planespotter_scraping.catalog.label_files import match_files
from planespotter_scraping.catalog.predictions import PredictionRow, contradict, read_prediction_file


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


def read_predictions(folder: Path, frame: pd.DataFrame, predictions: Path) -> dict[str, PredictionRow]:
    """Read the predictions of a catalog's photos.

    Args:
        folder: Folder of the catalog.
        frame: Catalog, as `catalog.read` returns it.
        predictions: File of `planespotter classify --out`. Photos of other folders are skipped.

    Returns:
        The predictions by file.

    Raises:
        CatalogError: The predictions cannot be read, or none of them is of a photo of this catalog.
    """
    by_name = {_relative(row.file, folder): row for row in read_prediction_file(predictions)}
    matched = match_files(by_name, set(frame["file"]))
    if not matched:
        raise CatalogError(
            f"{predictions} has no predictions of photos in {folder}. Make them with: planespotter classify {folder} "
            "--out predictions.csv"
        )
    return {file: by_name[name] for name, file in matched.items()}


def find_disagreements(frame: pd.DataFrame, predicted: Mapping[str, PredictionRow]) -> list[Disagreement]:
    """Compare the labels of a catalog with the predictions of its photos.

    Only confident levels count, and only those that the label names. A network that was trained on these labels has
    partly learnt their errors; one that was not finds more.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        predicted: Predictions by file; failed photos have no probability.

    Returns:
        The disagreements, the most confident first.
    """
    disagreements = [
        Disagreement(str(photo["photo_id"]), _name(label), _name(prediction.confident), prediction.probability)
        for photo in frame.to_dict("records")
        if (prediction := predicted.get(str(photo["file"]))) is not None
        and contradict(label := tuple(str(photo[level]) for level in LABEL_PATH), prediction.confident)
        and prediction.probability is not None
    ]
    return sorted(disagreements, key=lambda item: (-item.probability, item.photo_id))


def _relative(file: str, folder: Path) -> str:
    """Return a path that the command line printed, relative to the catalog if it is in it."""
    for base in (folder, folder.resolve()):
        if Path(file).is_relative_to(base):
            return Path(file).relative_to(base).as_posix()
    return file


def _name(path: tuple[str, ...]) -> str:
    names = [name for name in path if name]
    return " ".join(dict.fromkeys((names[0], names[-1]))) if names else ""
