"""Converters between the messages of the contract and the types of the SDK."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import _validation
from planespotter_client._errors import InvalidRequestError, PlaneSpotterError, ProtocolError, from_status
from planespotter_client._prior import Evidence, check_evidence
from planespotter_client._types import (
    NETWORK,
    Candidate,
    DecodeRule,
    HeatMap,
    Level,
    Limits,
    Metric,
    Model,
    PathNode,
    Prediction,
    ServerInfo,
    Thresholds,
)

LEVELS = {
    pb.LEVEL_CONSTRUCTOR: Level.CONSTRUCTOR,
    pb.LEVEL_FAMILY: Level.FAMILY,
    pb.LEVEL_MODEL: Level.MODEL,
}  # a level that a later contract adds counts as unknown
DECODE_RULES = {pb.DECODE_RULE_GREEDY: DecodeRule.GREEDY, pb.DECODE_RULE_BEST_PATH: DecodeRule.BEST_PATH}


def options(
    model: str,
    model_version: str,
    top_k: int,
    heat_map: bool,
    min_probability: float | None,
    evidence: Evidence,
    limits: Limits,
) -> pb.ClassifyOptions:
    """Return the options of a request.

    Raises:
        InvalidRequestError: `top_k` is out of range.
        TypeError: `top_k` is not an integer, or `evidence` has an unknown keyword.
    """
    check_evidence(evidence)
    _validation.check_integer("top_k", top_k)
    if not 0 <= top_k <= limits.max_top_k:
        raise InvalidRequestError(
            f"top_k is out of range: {top_k}. Give a number from 0 to {limits.max_top_k}.",
            reason="TOP_K_OUT_OF_RANGE",
            metadata={"top_k": str(top_k), "limit": str(limits.max_top_k)},
        )
    prior = evidence.get("prior")
    return pb.ClassifyOptions(
        model_name=model or None,
        model_version=model_version or None,
        top_k=top_k,
        heat_map=heat_map,
        min_probability=min_probability,
        leaf_probabilities=bool(evidence.get("leaf_probabilities")),
        prior=None if prior is None else prior.to_message(),
    )


# A submessage that is passed to a constructor is copied, photo and all; one that is filled in place is not.


def classify_request(content: bytes, options: pb.ClassifyOptions) -> pb.ClassifyRequest:
    """Return the request for one photo."""
    request = pb.ClassifyRequest(options=options)
    request.photo.content = content
    return request


def batch_request(contents: Iterable[bytes], options: pb.ClassifyOptions) -> pb.BatchClassifyRequest:
    """Return the request for several photos."""
    request = pb.BatchClassifyRequest(options=options)
    for content in contents:
        request.photos.add(content=content)
    return request


def stream_config(options: pb.ClassifyOptions) -> pb.StreamClassifyRequest:
    """Return the first message of a stream."""
    return pb.StreamClassifyRequest(config=pb.StreamConfig(options=options))


def stream_photos(photos: Sequence[tuple[str, bytes]]) -> pb.StreamClassifyRequest:
    """Return the message of a stream that carries photos: ids and contents."""
    request = pb.StreamClassifyRequest()
    if len(photos) == 1:
        [(request.photo.id, request.photo.content)] = photos
    else:
        for photo_id, content in photos:
            request.photos.photos.add(id=photo_id, content=content)
    return request


def outcome(result: pb.PhotoResult, name: str) -> Prediction | PlaneSpotterError:
    """Return the prediction or the error in the result for the photo called `name`."""
    if result.HasField("error"):
        return from_status(result.error, name)
    try:
        return prediction(result.prediction)
    except ProtocolError as error:
        return error.about(name)


def prediction(message: pb.Prediction) -> Prediction:
    """Return a message as a Prediction.

    Raises:
        ProtocolError: The path is empty.
    """
    path = _path(message.path)
    if not path:
        raise ProtocolError(
            "The server violated the protocol: it sent a prediction without a path.", reason="PROTOCOL_VIOLATION"
        )
    return Prediction(
        path=path,
        level=LEVELS.get(message.level, Level.UNKNOWN),
        candidates=tuple(_candidate(candidate) for candidate in message.candidates),
        model_name=message.model_name,
        model_version=message.model_version,
        heat_map=_heat_map(message.heat_map) if message.HasField("heat_map") else None,
        evidence=message.evidence or NETWORK,
        network_path=_path(message.network_path),
        leaf_probabilities=tuple(message.leaf_probabilities) or None,
    )


def _path(nodes: Iterable[pb.PathNode]) -> tuple[PathNode, ...]:
    return tuple(PathNode(LEVELS[node.level], node.name, node.probability) for node in nodes if node.level in LEVELS)


def _candidate(message: pb.Candidate) -> Candidate:
    constructor, family, model, *_ = *message.path, None, None, None
    return Candidate(constructor or "", family, model, message.probability)


def _heat_map(message: pb.HeatMap) -> HeatMap:
    rows = range(0, len(message.values), max(1, message.columns))
    return HeatMap(tuple(tuple(message.values[start : start + message.columns]) for start in rows))


def server_info(message: pb.GetServerInfoResponse) -> ServerInfo:
    """Return a message as a ServerInfo."""
    limits = message.limits
    values = {limit.name: getattr(limits, limit.name) for limit in fields(Limits)}
    values["max_queue_wait"] = limits.max_queue_wait.ToNanoseconds() / 1e9
    if not limits.HasField("max_photos_per_second"):
        values["max_photos_per_second"] = None
    return ServerInfo(message.version, Limits(**values))


def model(message: pb.Model) -> Model:
    """Return a message as a Model."""
    thresholds = message.thresholds
    return Model(
        name=message.name,
        version=message.version,
        tree={
            constructor.name: {
                family.name: tuple(model.name for model in family.children) for family in constructor.children
            }
            for constructor in message.taxonomy
        },
        input_size=(message.input_size.height, message.input_size.width),
        thresholds=Thresholds(
            thresholds.min_constructor_probability if thresholds.HasField("min_constructor_probability") else None,
            thresholds.min_family_probability if thresholds.HasField("min_family_probability") else None,
            thresholds.min_model_probability if thresholds.HasField("min_model_probability") else None,
        ),
        metrics=tuple(
            Metric(metric.source if metric.HasField("source") else None, metric.name, metric.value, metric.photo_count)
            for metric in message.metrics
        ),
        is_default=message.is_default,
        heat_map_supported=message.heat_map_supported,
        decode_rule=DECODE_RULES.get(message.decode_rule),
    )
