"""What load to put on a server."""

from dataclasses import dataclass
from enum import StrEnum

from planespotter_client._errors import PlaneSpotterError


class BenchError(PlaneSpotterError):
    """The measurement cannot be made; the text says why and what to do."""


class Mode(StrEnum):
    """How photos are sent."""

    UNARY = "unary"
    """Classify: one photo in one call."""
    BATCH = "batch"
    """BatchClassify: several photos in one call."""
    STREAM = "stream"
    """StreamClassify: photos on long-lived streams."""


@dataclass(frozen=True)
class Load:
    """One load. Times are in seconds, rates in photos per second; all are for all processes together.

    With a `rate` the loop is open: photos are sent at random times, whether the server keeps up or not, as many
    independent users would. Without, it is closed: each of `callers` sends its next photo when it has an answer.
    """

    modes: tuple[Mode, ...] = (Mode.UNARY,)
    """Caller number i sends in the mode i modulo their number."""
    callers: int = 8
    """Closed loop: how many callers. Open loop: how many streams; single calls and batches know no bound there."""
    rate: float | None = None
    seconds: float = 10.0
    photos: int | None = None
    """Stop after so many photos, if that comes before `seconds`."""
    warm_up: float = 1.0
    """How long the load is on before the measurement begins."""
    deadline: float = 10.0
    """An answer that comes later than this does not count as good."""
    batch_size: int = 32
    window: int = 64
    """Closed loop: how many photos each stream has on the way."""
    cancel_share: float = 0.0
    """The share of calls that are cancelled before their answer."""
    reconnect_seconds: float | None = None
    """After how long, on average, a caller drops its connection and makes a new one."""
    seed: int = 0

    @property
    def longest(self) -> float:
        """At most how long it takes, with what comes after the last photo is sent."""
        return self.warm_up + self.seconds + self.deadline

    def share(self, process: int, processes: int) -> "Load":
        """Return what one of `processes` does of it."""
        return Load(
            **{
                **self.__dict__,
                "callers": _part(self.callers, process, processes),
                "rate": None if self.rate is None else self.rate / processes,
                "photos": None if self.photos is None else _part(self.photos, process, processes),
                "seed": self.seed + 1_000_003 * process,
            }
        )


def _part(total: int, index: int, parts: int) -> int:
    """Return the part number `index` of `total` divided as evenly as whole numbers allow."""
    return total // parts + (index < total % parts)
