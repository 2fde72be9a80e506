"""Between the messages of the contract and the values of this package."""

from dataclasses import fields

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import _validation
from planespotter_client._errors import BadRequestError, PlaneSpotterError, from_status
from planespotter_client._types import (
    Alternative,
    Classification,
    HeatMap,
    Level,
    Limits,
    Metric,
    Model,
    ScoredLabel,
    Thresholds,
)

LEVELS = {
    pb.LEVEL_CONSTRUCTOR: Level.CONSTRUCTOR,
    pb.LEVEL_FAMILY: Level.FAMILY,
    pb.LEVEL_MODEL: Level.MODEL,
}  # whatever a later contract adds counts as unknown


def options(model: str, version: str, alternatives: int, explain: bool, limits: Limits) -> pb.ClassifyOptions:
    """Return the options of a request. Raises BadRequestError, and TypeError for `alternatives` that are no number."""
    _validation.whole("alternatives", alternatives)
    if not 0 <= alternatives <= limits.max_alternatives:
        raise BadRequestError(
            f"alternatives is {alternatives}, but must lie between 0 and {limits.max_alternatives}.",
            reason="TOP_K_OUT_OF_RANGE",
            metadata={"alternatives": str(alternatives), "limit": str(limits.max_alternatives)},
        )
    return pb.ClassifyOptions(model_name=model, model_version=version, alternatives=alternatives, explain=explain)


def outcome(
    message: pb.BatchClassifyResult | pb.StreamClassifyResponse, name: str
) -> Classification | PlaneSpotterError:
    """Return what a message says about the photo called `name`."""
    if message.HasField("error"):
        return from_status(message.error, name)
    return classification(message.classification)


def classification(message: pb.Classification) -> Classification:
    """Return a message as a Classification."""
    return Classification(
        level=LEVELS.get(message.level, Level.UNKNOWN),
        constructor=_scored(message.constructor),
        family=_scored(message.family),
        model=_scored(message.model),
        alternatives=tuple(
            Alternative(leaf.constructor, leaf.family, leaf.model, leaf.probability) for leaf in message.alternatives
        ),
        model_name=message.model_name,
        model_version=message.model_version,
        heat_map=_heat_map(message.heat_map) if message.HasField("heat_map") else None,
    )


def _heat_map(message: pb.HeatMap) -> HeatMap:
    rows = range(0, len(message.values), max(1, message.columns))
    return HeatMap(tuple(tuple(message.values[start : start + message.columns]) for start in rows))


def _scored(label: pb.ScoredLabel) -> ScoredLabel:
    return ScoredLabel(label.name, label.probability)


def limits(message: pb.Limits) -> Limits:
    """Return a message as Limits."""
    return Limits(**{limit.name: getattr(message, limit.name) for limit in fields(Limits)})


def model(described: pb.Model, limits: Limits) -> Model:
    """Return a message as a Model."""
    return Model(
        name=described.name,
        version=described.version,
        tree={
            constructor.name: {family.name: tuple(family.models) for family in constructor.families}
            for constructor in described.constructors
        },
        input_size=(described.input_size.height, described.input_size.width),
        thresholds=Thresholds(
            described.thresholds.constructor, described.thresholds.family, described.thresholds.model
        ),
        metrics=tuple(Metric(metric.source, metric.name, metric.value, metric.photos) for metric in described.metrics),
        limits=limits,
        is_default=described.is_default,
        can_explain=described.can_explain,
    )
