"""Outcomes: what becomes of the photos of a call, and the wait for all photos of a batch with a single future."""

import asyncio
from collections.abc import Callable

from google.rpc.status_pb2 import Status

from planespotter_server.observability.metrics import PhotoRecord
from planespotter_server.rpc.converters import Classified
from planespotter_server.rpc.status import reason_of, to_status
from planespotter_server.serving.admission import Permit
from planespotter_server.serving.served_model import PhotoInFlight

Outcome = Classified | Exception


def record_outcome(record: PhotoRecord, outcome: Outcome) -> None:
    """Record the outcome of a photo."""
    if isinstance(outcome, Classified):
        record.predicted(outcome.prediction)
    else:
        record.rejected(reason_of(outcome))


def or_status(outcome: Outcome, photo_field: str = "photo") -> Classified | Status:
    """Return `outcome`; the status that reports it if it is an error.

    Args:
        outcome: The outcome of a photo.
        photo_field: Path of the photo in the request, such as "photos[3]".
    """
    return to_status(outcome, photo_field) if isinstance(outcome, Exception) else outcome


class BatchOutcomes:
    """The outcomes of the photos of one call, by their index. Create it in the event loop."""

    def __init__(self, photos: int) -> None:
        self.outcomes: list[Outcome] = [RuntimeError("The photo has no outcome.")] * photos
        self._missing = photos
        self._all_known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._records: dict[int, PhotoRecord] = {}
        self._permits: dict[int, Permit] = {}
        self._in_flight: list[PhotoInFlight] = []
        if not photos:
            self._all_known.set_result(None)

    def start(
        self,
        index: int,
        record: PhotoRecord,
        admit: Callable[[], Permit],
        submit: Callable[[Callable[[Outcome], None]], PhotoInFlight],
    ) -> None:
        """Admit and submit one photo. What either raises is its outcome.

        Args:
            index: Index of the photo.
            record: Gets its outcome.
            admit: Returns the permit, which is released with the outcome.
            submit: Starts to predict the photo, and calls its argument with the outcome.
        """

        def end(outcome: Outcome) -> None:
            self._end(index, outcome)

        self._records[index] = record
        try:
            self._permits[index] = admit()
            self._in_flight.append(submit(end))
        except Exception as error:
            end(error)

    def _end(self, index: int, outcome: Outcome) -> None:
        if index in self._permits:
            self._permits.pop(index).release()
        record_outcome(self._records.pop(index), outcome)
        self.outcomes[index] = outcome
        self._missing -= 1
        if not self._missing and not self._all_known.done():
            self._all_known.set_result(None)

    async def wait(self) -> None:
        """Wait until each photo has its outcome; if that is cancelled, drop those that have none."""
        try:
            await self._all_known
        except asyncio.CancelledError:
            for in_flight in self._in_flight:
                in_flight.cancel()
            for permit in self._permits.values():
                permit.release()
            for record in self._records.values():
                record.cancelled()
            raise
