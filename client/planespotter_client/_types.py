"""What comes back: frozen values that print well, compare, and turn into dicts, JSON and tables."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import MissingPackageError, PlaneSpotterError

if TYPE_CHECKING:
    import pandas as pd


class Level(StrEnum):
    """How deep in the label tree (constructor, family, model) an answer is sure; what is deeper is more.

    if answer.level >= Level.FAMILY:
        print(answer.family.name)
    """

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"

    # Texts compare by the alphabet, in which "unknown" is the most.

    def __lt__(self, other: str) -> bool:
        return self._depth < Level(other)._depth

    def __le__(self, other: str) -> bool:
        return self._depth <= Level(other)._depth

    def __gt__(self, other: str) -> bool:
        return self._depth > Level(other)._depth

    def __ge__(self, other: str) -> bool:
        return self._depth >= Level(other)._depth

    @property
    def _depth(self) -> int:
        return list(Level).index(self)


class Result:
    """Any value that a server's answer is made of."""

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain dicts, lists, strings and numbers."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.repr}  # type: ignore[arg-type]

    def to_json(self) -> str:
        """Return the same as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, PlaneSpotterError):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.value if isinstance(value, StrEnum) else value


@dataclass(frozen=True)
class ScoredLabel(Result):
    """A name with its calibrated probability, 0 to 1; "" and 0 where the label tree goes no deeper."""

    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} ({percent(self.probability)})" if self.name else ""


@dataclass(frozen=True)
class Alternative(Result):
    """A leaf of the label tree with its calibrated probability; `model` is "" where the tree ends at the family.

    Its dict has its `name` in words, too.
    """

    constructor: str
    family: str
    model: str
    probability: float

    @property
    def name(self) -> str:
        """It in words, such as "Boeing 737-800"; the family where the tree ends there."""
        return f"{self.constructor} {self.model or self.family}"

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain texts and a number."""
        return {"name": self.name, **super().to_dict()}

    def __str__(self) -> str:
        return f"{self.name} ({percent(self.probability)})"


@dataclass(frozen=True)
class HeatMap(Result):
    """Which parts of a photo spoke for a name (Grad-CAM): rows of cells, from the top left.

    The cells cover what the network sees: the photo, scaled to fit into Model.input_size and centred. Each is from 0,
    where nothing speaks for the name, to 255, where most does.
    """

    cells: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> tuple[int, int]:
        """How many rows there are, and how many cells in each."""
        return len(self.cells), len(self.cells[0]) if self.cells else 0


@dataclass(frozen=True)
class Classification(Result):
    """What the network says about a photo: a path from constructor to model, and the level down to which it is sure.

    Prints as what is sure: "Boeing 737-800 (94 %)", "Boeing 737 (97 %)", "Boeing (99 %)", "unknown". The names below
    `level` are guesses.

        answer = spotter.classify("photo.jpg", alternatives=3)
        answer.level         # Level.MODEL
        answer.name          # "Boeing 737-800"
        answer.probability   # 0.943
        answer.family        # ScoredLabel(name='737', probability=0.981)
        for leaf in answer.alternatives:
            print(leaf)      # "Boeing 737-800 (94 %)", then the next best
    """

    level: Level
    constructor: ScoredLabel
    family: ScoredLabel
    model: ScoredLabel
    alternatives: tuple[Alternative, ...] = ()
    model_name: str = ""
    """Name of the network that answered, "" if an older server did not say."""
    model_version: str = ""
    """Its version."""
    heat_map: HeatMap | None = None
    """Where in the photo the network looked for the deepest name; only if asked for."""

    @property
    def name(self) -> str:
        """What is sure, in words: "Boeing 737-800", "Boeing 737", "Boeing" or "unknown"."""
        match self.level:
            case Level.MODEL:
                return f"{self.constructor.name} {self.model.name}"
            case Level.FAMILY:
                return f"{self.constructor.name} {self.family.name}"
            case Level.CONSTRUCTOR:
                return self.constructor.name
            case Level.UNKNOWN:
                return "unknown"

    @property
    def probability(self) -> float:
        """The probability of what is sure; where nothing is, that of the constructor."""
        deepest = {Level.MODEL: self.model, Level.FAMILY: self.family}.get(self.level, self.constructor)
        return deepest.probability

    def __str__(self) -> str:
        if self.level is Level.UNKNOWN:
            return f"unknown (perhaps {self.constructor.name}, {percent(self.probability)})"
        return f"{self.name} ({percent(self.probability)})"


def percent(probability: float) -> str:
    """Return 0.943 as "94 %"; never "100 %" for what is not quite certain, nor "0 %" for what is possible."""
    if 0.99 < probability < 1:
        return "99 %" if probability < 0.995 else "> 99 %"
    if 0 < probability < 0.01:
        return "< 1 %"
    return f"{100 * probability:.0f} %"


@dataclass(frozen=True)
class PhotoAnswer(Result):
    """What became of one photo among many: a classification or an error, never both.

    `index` counts the photos as they were given, from 0; `photo_id` is the path of a photo on disk, else its index;
    `photo` is the very object that was given, which dicts and JSON leave out.

        for answer in spotter.stream(Path("photos").glob("*.jpg")):
            if answer.error:
                print(answer.photo_id, "failed:", answer.error)
            else:
                print(answer.photo_id, answer.classification.name)
    """

    index: int
    photo_id: str
    photo: Any = field(repr=False, compare=False)
    classification: Classification | None = None
    error: PlaneSpotterError | None = None

    def result(self) -> Classification:
        """Return the classification, or raise the error."""
        if self.classification is None:
            raise self.error or ValueError("This answer holds neither a classification nor an error.")
        return self.classification

    def __str__(self) -> str:
        return f"{self.photo_id}: {self.classification or self.error}"


@dataclass(frozen=True)
class Thresholds(Result):
    """Minimum probability per level from which the level counts as confident; None if it never does."""

    constructor: float | None
    family: float | None
    model: float | None


@dataclass(frozen=True)
class Metric(Result):
    """A metric, measured on photos that the model was not trained on; `source` is None for all sources together."""

    source: str | None
    name: str
    value: float
    photos: int

    def __str__(self) -> str:
        return f"{self.name}{f' ({self.source})' if self.source else ''} {self.value:.3f} on {self.photos:,} photos"


@dataclass(frozen=True)
class Limits(Result):
    """Limits of the server for this caller; the contract describes each.

    `max_queue_wait` is in seconds; `max_photos_per_second` is None if the token has no rate limit.
    """

    max_photo_bytes: int
    max_photo_pixels: int
    max_batch_photos: int
    max_message_bytes: int
    max_top_k: int
    max_in_flight_per_stream: int
    max_in_flight_per_stream_bytes: int
    max_streams: int
    max_in_flight_photos: int
    max_in_flight_bytes: int
    max_concurrent_calls: int
    max_queue_wait: float
    max_photos_per_second: float | None


@dataclass(frozen=True)
class ServerInfo(Result):
    """The version of the server and its limits for this caller."""

    version: str
    limits: Limits


@dataclass(frozen=True)
class Model(Result):
    """The model that answers. `tree` maps constructor → family → models; `input_size` is (height, width) in pixels."""

    name: str
    version: str
    tree: Mapping[str, Mapping[str, tuple[str, ...]]]
    input_size: tuple[int, int]
    thresholds: Thresholds
    metrics: tuple[Metric, ...]
    is_default: bool = False
    """Whether it serves requests without a model name."""
    heat_map_supported: bool = False
    """Whether it can compute heat maps."""

    def __str__(self) -> str:
        leaves = sum(len(models) or 1 for families in self.tree.values() for models in families.values())
        height, width = self.input_size
        return f"{self.name} {self.version}: tells {leaves} kinds of aircraft apart, in photos of {width} x {height}"


def frame(answers: Iterable[PhotoAnswer | Classification]) -> "pd.DataFrame":
    """Return a pandas table of `answers`, one row each in the order of their photos, with the index of each photo.

    The columns: photo_id, level, name, probability, constructor, constructor_probability, family, family_probability,
    model, model_probability, alternatives (a list of dicts), model_name, model_version; error and reason, empty where
    all is well. The columns of an answer are empty where there is an error, and those of a level where the label tree
    goes no deeper. Answers of `classify` do not know their photos: their photo_id is empty, their index their place.
    Raises MissingPackageError without pandas.

        answers = spotter.stream(Path("photos").glob("*.jpg"))
        table = frame(answers)
        table.groupby("constructor").size()
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "A table of answers needs pandas: pip install pandas. Without it, each answer has to_dict().",
            reason="PANDAS_MISSING",
        ) from error
    placed = (
        PhotoAnswer(place, "", None, classification=one) if isinstance(one, Classification) else one
        for place, one in enumerate(answers)
    )
    in_order = sorted(placed, key=lambda answer: answer.index)
    index = pd.Index([answer.index for answer in in_order], name="index", dtype="int64")
    return pd.DataFrame([_row(answer) for answer in in_order], index=index, columns=list(FRAME_COLUMNS))


FRAME_COLUMNS = (
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
    "alternatives",
    "model_name",
    "model_version",
    "error",
    "reason",
)


def _row(answer: PhotoAnswer) -> dict[str, Any]:
    said = answer.classification
    if said is None:
        reason = answer.error.reason if answer.error else None
        return {"photo_id": answer.photo_id, "error": str(answer.error), "reason": reason}
    return {
        "photo_id": answer.photo_id or None,
        "level": said.level.value,
        "name": said.name,
        "probability": said.probability,
        **{
            name: value
            for level, label in (("constructor", said.constructor), ("family", said.family), ("model", said.model))
            if label.name
            for name, value in ((level, label.name), (f"{level}_probability", label.probability))
        },
        "alternatives": [leaf.to_dict() for leaf in said.alternatives],
        "model_name": said.model_name,
        "model_version": said.model_version,
    }
