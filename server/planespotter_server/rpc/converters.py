"""Between the values of the bundle and the messages of the contract."""

from dataclasses import dataclass

import numpy as np
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import Bundle, Level, Prediction
from planespotter_server.auth.authentication import Client
from planespotter_server.settings import Settings

LEVELS = {
    Level.UNKNOWN: pb.LEVEL_UNKNOWN,
    Level.CONSTRUCTOR: pb.LEVEL_CONSTRUCTOR,
    Level.FAMILY: pb.LEVEL_FAMILY,
    Level.MODEL: pb.LEVEL_MODEL,
}


@dataclass(frozen=True)
class Answered:
    """An answer, and the network that gave it."""

    answer: Prediction
    bundle: Bundle


def classification(answered: Answered) -> pb.Classification:
    """Return `answered` as a message."""
    answer = answered.answer
    constructor, family, model = (
        pb.ScoredLabel(name=name, probability=probability)
        for name, probability in zip(answer.label, answer.probabilities, strict=True)
    )
    return pb.Classification(
        level=LEVELS[answer.level],
        constructor=constructor,
        family=family,
        model=model,
        alternatives=[
            pb.Alternative(
                constructor=label.constructor, family=label.family, model=label.model, probability=probability
            )
            for label, probability in answer.candidates
        ],
        model_name=answered.bundle.name,
        model_version=answered.bundle.version,
        heat_map=None if answer.heat_map is None else _heat_map(answer.heat_map),
    )


def _heat_map(heat: NDArray[np.uint8]) -> pb.HeatMap:
    rows, columns = heat.shape
    return pb.HeatMap(rows=rows, columns=columns, values=heat.tobytes())


def batch_result(outcome: Answered | Status) -> pb.BatchClassifyResult:
    """Return what became of one photo of a batch."""
    if isinstance(outcome, Status):
        return pb.BatchClassifyResult(error=outcome)
    return pb.BatchClassifyResult(classification=classification(outcome))


def stream_response(photo_id: str, outcome: Answered | Status) -> pb.StreamClassifyResponse:
    """Return what became of one photo of a stream."""
    if isinstance(outcome, Status):
        return pb.StreamClassifyResponse(photo_id=photo_id, error=outcome)
    return pb.StreamClassifyResponse(photo_id=photo_id, classification=classification(outcome))


def model(bundle: Bundle, is_default: bool) -> pb.Model:
    """Return the description of `bundle`."""
    return pb.Model(
        name=bundle.name,
        version=bundle.version,
        constructors=[
            pb.ConstructorLabel(
                name=constructor,
                families=[pb.FamilyLabel(name=family, models=models) for family, models in families.items()],
            )
            for constructor, families in bundle.tree.branches.items()
        ],
        input_size=pb.InputSize(height=bundle.height, width=bundle.width),
        thresholds=pb.Thresholds(
            constructor=bundle.calibration.thresholds.constructor,
            family=bundle.calibration.thresholds.family,
            model=bundle.calibration.thresholds.model,
        ),
        metrics=[
            pb.Metric(source=metric.source, name=metric.name, value=metric.value, photos=metric.photos)
            for metric in bundle.metrics
        ],
        is_default=is_default,
        can_explain=bundle.heat_map is not None,
    )


def limits(settings: Settings, client: Client) -> pb.Limits:
    """Return the limits that `client` meets."""
    return pb.Limits(
        max_photo_bytes=settings.max_photo_bytes,
        max_photo_pixels=settings.max_photo_pixels,
        max_batch_photos=settings.max_batch_photos,
        max_message_bytes=settings.max_message_bytes,
        max_alternatives=settings.max_top_k,
        stream_window=settings.max_in_flight_per_stream,
        stream_window_bytes=settings.max_in_flight_per_stream_bytes,
        max_streams=settings.max_streams,
        queue_photos=settings.max_in_flight_photos,
        queue_bytes=settings.max_in_flight_bytes,
        max_client_calls=settings.max_concurrent_calls_per_client if client.max_calls is None else client.max_calls,
        queue_seconds=settings.max_queue_wait,
        photos_per_second=0.0 if client.pace is None else client.pace.per_second,
    )
