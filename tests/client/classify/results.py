"""Results as a server would send them."""

from planespotter_client import Alternative, Classification, Level, PhotoAnswer, ScoredLabel, UnreadablePhotoError


def prediction(level: Level = Level.MODEL, model: str = "737-800") -> Classification:
    leaf = Alternative("Boeing", "737", model, 0.9)
    return Classification(
        level, ScoredLabel("Boeing", 0.99), ScoredLabel("737", 0.95), ScoredLabel(model, 0.9 if model else 0.0), (leaf,)
    )


def result(name: str, failed: bool = False) -> PhotoAnswer:
    if failed:
        return PhotoAnswer(0, name, name, error=UnreadablePhotoError('It is not a photo; "quoted",\nof course.'))
    return PhotoAnswer(0, name, name, classification=prediction())
