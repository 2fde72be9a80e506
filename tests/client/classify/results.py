"""Results as a server would send them."""

from tests.client.predictions import path_of

from planespotter_client import Candidate, Level, PhotoReadError, PhotoResult, Prediction


def prediction(level: Level = Level.MODEL, model: str = "737-800") -> Prediction:
    leaf = Candidate("Boeing", "737", model or None, 0.9)
    labels = [("Boeing", 0.99), ("737", 0.95), (model, 0.9)]
    return Prediction(path_of(*labels[: 3 if model else 2]), level, (leaf,))


def result(name: str, failed: bool = False) -> PhotoResult:
    if failed:
        return PhotoResult(0, name, name, error=PhotoReadError('It is not a photo; "quoted",\nof course.'))
    return PhotoResult(0, name, name, prediction=prediction())
