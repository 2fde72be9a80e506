"""Converters from bundles, predictions and settings to the messages of the contract."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Bundle, DecodeRule, Label, LabelTree, Level, Prediction
from planespotter_server.auth.authentication import Client
from planespotter_server.settings import Settings

LEVELS = {
    Level.UNKNOWN: pb.LEVEL_UNKNOWN,
    Level.CONSTRUCTOR: pb.LEVEL_CONSTRUCTOR,
    Level.FAMILY: pb.LEVEL_FAMILY,
    Level.MODEL: pb.LEVEL_MODEL,
}
DECODE_RULES = {DecodeRule.GREEDY: pb.DECODE_RULE_GREEDY, DecodeRule.BEST_PATH: pb.DECODE_RULE_BEST_PATH}
PATH_LEVELS = (pb.LEVEL_CONSTRUCTOR, pb.LEVEL_FAMILY, pb.LEVEL_MODEL)


@dataclass(frozen=True)
class Classified:
    """A prediction and the bundle that made it."""

    prediction: Prediction
    bundle: Bundle


def prediction(classified: Classified) -> pb.Prediction:
    """Return `classified` as a message; its path ends where the label tree does."""
    predicted = classified.prediction
    return pb.Prediction(
        path=_path(predicted.label, predicted.probabilities),
        level=LEVELS[predicted.level],
        candidates=[
            pb.Candidate(path=_names(label), probability=probability) for label, probability in predicted.candidates
        ],
        model_name=classified.bundle.name,
        model_version=classified.bundle.version,
        heat_map=None if predicted.heat_map is None else _heat_map(predicted.heat_map),
        leaf_probabilities=None if predicted.leaf_probabilities is None else predicted.leaf_probabilities.tolist(),
        evidence=predicted.evidence,
        network_path=None if predicted.network is None else _path(*predicted.network),
    )


def _path(label: Label, probabilities: Iterable[float]) -> list[pb.PathNode]:
    return [
        pb.PathNode(level=level, name=name, probability=probability)
        for level, name, probability in zip(PATH_LEVELS, label, probabilities, strict=True)
        if name
    ]


def _names(label: Label) -> list[str]:
    return [name for name in label if name]


def _heat_map(cells: NDArray[np.uint8]) -> pb.HeatMap:
    rows, columns = cells.shape
    return pb.HeatMap(rows=rows, columns=columns, values=cells.tobytes())


def photo_result(photo_id: str, outcome: Classified | Status) -> pb.PhotoResult:
    """Return the result for one photo of a batch or a stream."""
    if isinstance(outcome, Status):
        return pb.PhotoResult(id=photo_id, error=outcome)
    return pb.PhotoResult(id=photo_id, prediction=prediction(outcome))


def model(bundle: Bundle, is_default: bool) -> pb.Model:
    """Return the description of `bundle`."""
    thresholds = bundle.calibration.thresholds
    return pb.Model(
        name=bundle.name,
        version=bundle.version,
        is_default=is_default,
        taxonomy=_taxonomy(bundle.tree),
        input_size=pb.InputSize(height=bundle.height, width=bundle.width),
        thresholds=pb.Thresholds(
            min_constructor_probability=_threshold(thresholds.constructor),
            min_family_probability=_threshold(thresholds.family),
            min_model_probability=_threshold(thresholds.model),
        ),
        metrics=[
            pb.Metric(source=metric.source or None, name=metric.name, value=metric.value, photo_count=metric.photos)
            for metric in bundle.metrics
        ],
        heat_map_supported=bundle.heat_map is not None,
        decode_rule=DECODE_RULES[bundle.calibration.decode_rule],
    )


def _taxonomy(tree: LabelTree) -> Iterator[pb.TaxonomyNode]:
    for constructor, families in tree.branches.items():
        yield pb.TaxonomyNode(
            level=pb.LEVEL_CONSTRUCTOR,
            name=constructor,
            children=[
                pb.TaxonomyNode(
                    level=pb.LEVEL_FAMILY,
                    name=family,
                    children=[pb.TaxonomyNode(level=pb.LEVEL_MODEL, name=name) for name in models],
                )
                for family, models in families.items()
            ],
        )


def _threshold(probability: float) -> float | None:
    """Return a threshold of a bundle; None for one that no probability reaches."""
    return probability if probability <= 1 else None


def server_info(settings: Settings, client: Client) -> pb.GetServerInfoResponse:
    """Return the version of the server and the limits that apply to `client`."""
    return pb.GetServerInfoResponse(version=version("planespotter"), limits=_limits(settings, client))


def _limits(settings: Settings, client: Client) -> pb.Limits:
    return pb.Limits(
        max_photo_bytes=settings.max_photo_bytes,
        max_photo_pixels=settings.max_photo_pixels,
        max_decoded_bytes=settings.max_decoded_bytes,
        max_batch_photos=settings.max_batch_photos,
        max_message_bytes=settings.max_message_bytes,
        max_photos_per_message=settings.max_batch_photos,
        max_top_k=settings.max_top_k,
        max_in_flight_per_stream=settings.max_in_flight_per_stream,
        max_in_flight_per_stream_bytes=settings.max_in_flight_per_stream_bytes,
        max_streams=settings.max_streams,
        max_in_flight_photos=settings.max_in_flight_photos,
        max_in_flight_bytes=settings.max_in_flight_bytes,
        max_concurrent_calls=settings.max_concurrent_calls_per_client if client.max_calls is None else client.max_calls,
        max_queue_wait=_duration(settings.max_queue_wait),
        max_photos_per_second=None if client.rate_limit is None else client.rate_limit.photos_per_second,
    )


def _duration(seconds: float) -> Duration:
    full_seconds = math.floor(seconds)
    return Duration(seconds=full_seconds, nanos=min(round((seconds - full_seconds) * 1e9), 999_999_999))
