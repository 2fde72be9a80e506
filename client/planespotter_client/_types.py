"""Result types: predictions, results of single photos, models and limits, as immutable values."""

import dataclasses
import html
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import PlaneSpotterError
from planespotter_photos.counts import count_noun

if TYPE_CHECKING:
    from PIL import Image


NETWORK = "network"
"""The evidence of a prediction that uses nothing but the photo."""


class DecodeRule(StrEnum):
    """How a path follows from the probabilities of the leaves."""

    GREEDY = "greedy"
    """The most probable constructor, then the most probable of its leaves."""
    BEST_PATH = "best_path"
    """The most probable leaf of the whole tree."""


class Level(StrEnum):
    """A level of the label tree; in a prediction, the confidence level. Deeper levels are greater.

    if prediction.level >= Level.FAMILY:
        print(prediction.family.name)
    """

    UNKNOWN = "unknown"
    CONSTRUCTOR = "constructor"
    FAMILY = "family"
    MODEL = "model"

    # Strings would compare alphabetically, with "unknown" as the greatest.

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
    """Base class of the values that the client returns."""

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain dicts, lists, strings and numbers."""
        return {
            member.name: _plain(getattr(self, member.name))
            for member in fields(self)  # type: ignore[arg-type]
            if member.repr
        }

    def to_json(self) -> str:
        """Return the value as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Result | PlaneSpotterError):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.value if isinstance(value, StrEnum) else value


@dataclass(frozen=True)
class PathNode(Result):
    """A node on the predicted path with its calibrated probability, 0 to 1."""

    level: Level
    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} ({percent(self.probability)})"


@dataclass(frozen=True)
class Candidate(Result):
    """A leaf of the label tree with its calibrated probability, 0 to 1.

    `family` and `model` are None where the tree ends above that level. The dict has its `name` too.
    """

    constructor: str
    family: str | None
    model: str | None
    probability: float

    @property
    def name(self) -> str:
        """Constructor and deepest level, such as "Boeing 737-800"."""
        return f"{self.constructor} {self.model or self.family or ''}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain strings and a number."""
        return {"name": self.name, **super().to_dict()}

    def __str__(self) -> str:
        return f"{self.name} ({percent(self.probability)})"


@dataclass(frozen=True)
class HeatMap(Result):
    """Grad-CAM heat map: which parts of a photo support the last node of the path, as rows from the top left.

    The cells cover the input of the network: the photo, scaled to fit into Model.input_size and centered. Each is from
    0, no support, to 255, the strongest in this photo.
    """

    cells: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.cells), len(self.cells[0]) if self.cells else 0

    def overlay(self, photo: "str | os.PathLike[str] | bytes | Image.Image") -> "Image.Image":
        """Draw the heat map over its photo, from transparent to orange. Needs Pillow.

        Args:
            photo: The photo that was classified: path or bytes of a JPEG, PNG or WebP file, or a PIL image.

        Returns:
            RGB image of the size of the upright photo; a notebook shows it.

        Raises:
            MissingDependencyError: Pillow is not installed.
            PhotoReadError: The photo cannot be read.
        """
        from planespotter_client._overlay import overlay

        return overlay(self.cells, photo)

    def _repr_html_(self) -> str:
        """Return the cells as a table of colors, for notebooks."""
        style = "width:1.2em;height:1.2em;padding:0;background:rgb({0},{1},{2})"
        rows = (
            "".join(
                f'<td style="{style.format(cell, cell // 2, 96 - cell * 96 // 255)}" title="{cell}"></td>'
                for cell in row
            )
            for row in self.cells
        )
        return f'<table style="border-collapse:collapse">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>'


@dataclass(frozen=True)
class Prediction(Result):
    """What the model predicts for a photo: a path from constructor to model, and the confidence level.

    Prints as its confident part: "Boeing 737-800 (94 %)", "Boeing 737 (97 %)", "Boeing (99 %)", or
    "unknown (perhaps Boeing, 68 %)". Nodes of the path below `level` are guesses.

        prediction = spotter.classify("photo.jpg", top_k=3)
        prediction.level         # Level.MODEL
        prediction.name          # "Boeing 737-800"
        prediction.probability   # 0.943
        prediction.family        # PathNode(level=Level.FAMILY, name='737', probability=0.981)
        for candidate in prediction.candidates:
            print(candidate)     # "Boeing 737-800 (94 %)", then the next best
    """

    path: tuple[PathNode, ...]
    """The nodes from the constructor to the end of the label tree."""
    level: Level
    """The deepest level down to which the model is confident."""
    candidates: tuple[Candidate, ...] = ()
    """The most probable leaves of the whole tree, best first; as many as `top_k` asks for."""
    model_name: str = ""
    """Name of the model that made the prediction."""
    model_version: str = ""
    """Its version."""
    heat_map: HeatMap | None = None
    """Which parts of the photo support the last node; None unless requested."""
    evidence: str = NETWORK
    """What the prediction uses: "network", or with a prior, such as "network+fleet"."""
    network_path: tuple[PathNode, ...] = ()
    """The path that the network alone predicts; empty if the prediction uses nothing else."""
    leaf_probabilities: tuple[float, ...] | None = field(default=None, repr=False)
    """Probability of each leaf by the network alone, in the order of Model.leaves; None unless requested. Dicts and
    JSON omit it."""

    @property
    def constructor(self) -> PathNode:
        """The constructor; every prediction has one."""
        return self.path[0]

    @property
    def family(self) -> PathNode | None:
        """The family; None where the label tree ends at the constructor."""
        return self._at(Level.FAMILY)

    @property
    def model(self) -> PathNode | None:
        """The model; None where the label tree ends above it."""
        return self._at(Level.MODEL)

    @property
    def confident_path(self) -> tuple[PathNode, ...]:
        """The nodes of the path down to the confidence level; none if it is UNKNOWN."""
        return tuple(node for node in self.path if node.level <= self.level)

    @property
    def name(self) -> str:
        """The confident part: "Boeing 737-800", "Boeing 737", "Boeing" or "unknown"."""
        names = [node.name for node in self.confident_path]
        return " ".join(names[:1] + names[1:][-1:]) or "unknown"

    @property
    def probability(self) -> float:
        """The probability of the confident part; of the constructor if the level is UNKNOWN."""
        return (self.confident_path or self.path)[-1 if self.confident_path else 0].probability

    def with_min_probability(self, min_probability: float | None) -> "Prediction":
        """Return the prediction with another confidence level, the deepest that is at least `min_probability` probable.

        Args:
            min_probability: Minimum probability, 0 to 1, of the level and all levels above; it replaces the thresholds
                of the model. None changes nothing.
        """
        if min_probability is None:
            return self
        confident = list(itertools.takewhile(lambda node: node.probability >= min_probability, self.path))
        return dataclasses.replace(self, level=confident[-1].level if confident else Level.UNKNOWN)

    def _at(self, level: Level) -> PathNode | None:
        return next((node for node in self.path if node.level is level), None)

    def _repr_html_(self) -> str:
        """Return the prediction, its path and its candidates, for notebooks."""
        nodes = [
            (str(node.level), node.name, percent(node.probability), "" if node.level <= self.level else "a guess")
            for node in self.path
        ]
        candidates = [("candidate", leaf.name, percent(leaf.probability), "") for leaf in self.candidates]
        heat_map = self.heat_map._repr_html_() if self.heat_map else ""
        return f"<b>{html.escape(str(self))}</b>{_html_table([*nodes, *candidates])}{heat_map}"

    def __str__(self) -> str:
        if self.level is Level.UNKNOWN:
            return f"unknown (perhaps {self.constructor.name}, {percent(self.probability)})"
        return f"{self.name} ({percent(self.probability)})"


def _html_table(rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table of texts."""
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def percent(probability: float) -> str:
    """Format 0.943 as "94 %"; never "100 %" for what is not certain, nor "0 %" for what is possible."""
    if 0.99 < probability < 1:
        return "99 %" if probability < 0.995 else "> 99 %"
    if 0 < probability < 0.01:
        return "< 1 %"
    return f"{100 * probability:.0f} %"


@dataclass(frozen=True)
class PhotoResult(Result):
    """The result for one photo among many: a prediction or an error, never both.

    `index` counts the photos in the order given, from 0. `photo_id` is the id that was given, else the path of a photo
    on disk, else its index.
    `photo` is the object that was given; dicts and JSON omit it.

        for result in spotter.stream(Path("photos").glob("*.jpg")):
            if result.error:
                print(result.photo_id, "failed:", result.error)
            else:
                print(result.photo_id, result.prediction.name)
    """

    index: int
    photo_id: str
    photo: Any = field(repr=False, compare=False)
    prediction: Prediction | None = None
    error: PlaneSpotterError | None = None

    def _repr_html_(self) -> str:
        """Return the photo id and the prediction or the error, for notebooks."""
        shown = self.prediction._repr_html_() if self.prediction else html.escape(str(self.error))
        return f"{html.escape(self.photo_id)}: {shown}"

    def result(self) -> Prediction:
        """Return the prediction, or raise the error."""
        if self.prediction is None:
            raise self.error or ValueError("The result has neither a prediction nor an error.")
        return self.prediction

    def with_min_probability(self, min_probability: float | None) -> "PhotoResult":
        """Return the result with another confidence level, see `Prediction.with_min_probability`."""
        if min_probability is None or self.prediction is None:
            return self
        return dataclasses.replace(self, prediction=self.prediction.with_min_probability(min_probability))

    def __str__(self) -> str:
        return f"{self.photo_id}: {self.prediction or self.error}"


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
    photo_count: int

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        return f"{self.name}{source} {self.value:.3f} on {count_noun(self.photo_count, 'photo')}"


@dataclass(frozen=True)
class Limits(Result):
    """Limits of the server for this caller; the contract describes each.

    `max_queue_wait` is in seconds; `max_photos_per_second` is None if the token has no rate limit.
    """

    max_photo_bytes: int
    max_photo_pixels: int
    max_decoded_bytes: int
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
    max_photos_per_message: int


@dataclass(frozen=True)
class ServerInfo(Result):
    """The version of the server and its limits for this caller."""

    version: str
    limits: Limits


@dataclass(frozen=True)
class Model(Result):
    """A served model. `tree` maps constructor → family → models; `input_size` is (height, width) in pixels."""

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
    decode_rule: DecodeRule | None = None
    """How a path follows from the probabilities of the leaves; None if the server does not report it."""

    @property
    def leaves(self) -> tuple[tuple[str, ...], ...]:
        """The paths of all leaves of the tree, in the order of Prediction.leaf_probabilities."""
        paths: list[tuple[str, ...]] = []
        for constructor, families in self.tree.items():
            for family, models in families.items():
                paths += [(constructor, family, model) for model in models] or [(constructor, family)]
            if not families:
                paths.append((constructor,))
        return tuple(paths)

    def _repr_html_(self) -> str:
        """Return the label tree and the metrics of all sources together, for notebooks."""
        types = [
            (constructor, family, ", ".join(models))
            for constructor, families in self.tree.items()
            for family, models in families.items()
        ]
        metrics = [
            (metric.name, f"{metric.value:.3f}", count_noun(metric.photo_count, "photo"))
            for metric in self.metrics
            if not metric.source
        ]
        return f"<b>{html.escape(str(self))}</b>{_html_table(types)}{_html_table(metrics)}"

    def __str__(self) -> str:
        leaves = sum(len(models) or 1 for families in self.tree.values() for models in families.values())
        height, width = self.input_size
        return f"{self.name} {self.version}: {count_noun(leaves, 'type')} of aircraft, input {width} x {height}"
