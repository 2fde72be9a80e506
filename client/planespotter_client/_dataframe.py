"""pandas DataFrames of results, one row per photo."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import MissingDependencyError
from planespotter_client._types import PhotoResult, Prediction

if TYPE_CHECKING:
    import pandas as pd

DATAFRAME_COLUMNS = (
    "photo_id",
    "level",
    "name",
    "probability",
    "constructor",
    "constructor_probability",
    "family",
    "family_probability",
    "model",
    "model_probability",
    "candidates",
    "model_name",
    "model_version",
    "error",
    "reason",
)


def to_dataframe(results: Iterable[PhotoResult | Prediction]) -> "pd.DataFrame":
    """Make a pandas DataFrame of results: one row per photo, in the order of the photos.

        results = spotter.stream(Path("photos").glob("*.jpg"))
        table = to_dataframe(results)
        table.groupby("constructor").size()

    Args:
        results: Results of `stream` or `classify_batch`, or predictions of `classify`. A prediction has no photo_id,
            and its index is its position.

    Returns:
        A DataFrame indexed by the index of the photo. Columns: photo_id, level, name, probability, constructor,
        constructor_probability, family, family_probability, model, model_probability, candidates (a list of dicts),
        model_name, model_version, error and reason. A row with an error has no prediction; levels that the label tree
        does not have are empty.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "pandas is not installed: pip install pandas. Without it, use to_dict() of each result.",
            reason="PANDAS_MISSING",
        ) from error
    indexed = (
        PhotoResult(position, "", None, prediction=result) if isinstance(result, Prediction) else result
        for position, result in enumerate(results)
    )
    in_order = sorted(indexed, key=lambda result: result.index)
    index = pd.Index([result.index for result in in_order], name="index", dtype="int64")
    return pd.DataFrame([_row(result) for result in in_order], index=index, columns=list(DATAFRAME_COLUMNS))


def _row(result: PhotoResult) -> dict[str, Any]:
    prediction = result.prediction
    if prediction is None:
        reason = result.error.reason if result.error else None
        return {"photo_id": result.photo_id, "error": str(result.error), "reason": reason}
    row: dict[str, Any] = {
        "photo_id": result.photo_id or None,
        "level": prediction.level.value,
        "name": prediction.name,
        "probability": prediction.probability,
    }
    for node in prediction.path:
        row[node.level.value] = node.name
        row[f"{node.level.value}_probability"] = node.probability
    return {
        **row,
        "candidates": [candidate.to_dict() for candidate in prediction.candidates],
        "model_name": prediction.model_name,
        "model_version": prediction.model_version,
    }
