"""What comes back: frozen values that print well and turn into dicts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from planespotter_client._errors import PlaneSpotterError


class Level(StrEnum):
    """How deep in the label tree (constructor, family, model) an answer is sure."""

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"


@dataclass(frozen=True)
class ScoredLabel:
    """A name with its calibrated probability, 0 to 1; "" and 0 where the label tree goes no deeper."""

    name: str
    probability: float


@dataclass(frozen=True)
class Alternative:
    """A leaf of the label tree with its calibrated probability; `model` is "" where the tree ends at the family."""

    constructor: str
    family: str
    model: str
    probability: float


@dataclass(frozen=True)
class Classification:
    """What the network says about a photo: a path from constructor to model, and the level down to which it is sure.

    Prints as what is sure: "Boeing 737-800 (94 %)", "Boeing 737 (97 %)", "Boeing (99 %)", "unknown".
    """

    level: Level
    constructor: ScoredLabel
    family: ScoredLabel
    model: ScoredLabel
    alternatives: tuple[Alternative, ...] = ()

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

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain dicts, lists, strings and numbers."""
        return {**asdict(self), "level": self.level.value, "alternatives": [asdict(leaf) for leaf in self.alternatives]}


def percent(probability: float) -> str:
    """Return 0.943 as "94 %"; never "100 %" for what is not quite certain, nor "0 %" for what is possible."""
    if 0.99 < probability < 1:
        return "99 %" if probability < 0.995 else "> 99 %"
    if 0 < probability < 0.01:
        return "< 1 %"
    return f"{100 * probability:.0f} %"


@dataclass(frozen=True)
class PhotoAnswer:
    """What became of one photo among many: a classification or an error, never both.

    `index` counts the photos as they were given, from 0; `photo_id` is the path of a photo on disk, else its index;
    `photo` is the very object that was given.
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


@dataclass(frozen=True)
class Thresholds:
    """Least probability at each level for which that level counts as sure."""

    constructor: float
    family: float
    model: float


@dataclass(frozen=True)
class Metric:
    """A figure measured on photos that the network was not trained on; `source` is "" for all sources together."""

    source: str
    name: str
    value: float
    photos: int


@dataclass(frozen=True)
class Limits:
    """What the server accepts; see the contract for each."""

    max_photo_bytes: int
    max_photo_pixels: int
    max_batch_photos: int
    max_message_bytes: int
    max_alternatives: int
    stream_window: int
    stream_window_bytes: int
    max_streams: int
    queue_photos: int
    queue_bytes: int
    max_client_calls: int


@dataclass(frozen=True)
class Model:
    """The model that answers. `tree` maps constructor → family → models; `input_size` is (height, width) in pixels."""

    name: str
    version: str
    tree: Mapping[str, Mapping[str, tuple[str, ...]]]
    input_size: tuple[int, int]
    thresholds: Thresholds
    metrics: tuple[Metric, ...]
    limits: Limits
