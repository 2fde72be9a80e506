"""Several loads one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from planespotter_client.bench.load_generator import Load
from planespotter_client.bench.measurements import BenchError, Recording

PEAK_CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# More callers that bring less than this are no gain, and the search ends after so many of such.
GAIN, TRIES = 1.05, 2
BELOW, BEYOND = 0.7, 2.0


@dataclass
class Step:
    """One load and what was measured under it."""

    name: str
    load: Load
    recording: Recording
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since its beginning, and the bytes that the server held."""
    server_processor: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since its beginning, and how many seconds of the processor the server had used until then."""
    interrupted: bool = False
    of_peak: float | None = None
    """Which share of the peak rate was offered, after a search for the peak."""

    @property
    def server_cores(self) -> float | None:
        """How many cores the server used on average; None where that was not watched."""
        if len(self.server_processor) < 2:
            return None
        (first, before), (last, after) = self.server_processor[0], self.server_processor[-1]
        return (after - before) / (last - first)

    @property
    def generator_cores(self) -> float:
        """How many cores the processes that send used on average."""
        return self.recording.processor_seconds / self.recording.seconds


Run = Callable[[str, Load], Step]


def read_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """Return what "callers=1,2,4" or "rate=50,100" stands for. Raises BenchError."""
    name, _, values = text.partition("=")
    try:
        numbers = tuple(float(value) for value in values.split(","))
    except ValueError:
        numbers = ()
    whole = name != "callers" or all(number == int(number) for number in numbers)
    if name not in ("callers", "rate") or not numbers or min(numbers) <= 0 or not whole:
        raise BenchError(f"--sweep cannot be {text!r}. Write callers=1,2,4,8 or rate=50,100,200 (photos per second).")
    return name, numbers


def sweep(base: Load, name: str, values: tuple[float, ...], run: Run) -> Iterator[Step]:
    """Run `base` with each of the values of "callers" or "rate"."""
    for value in values:
        yield run(*(_callers(base, int(value)) if name == "callers" else _rate(base, value)))


def find_peak(base: Load, run: Run) -> Iterator[Step]:
    """Run `base` with more and more callers until more bring nothing, then with 70 % and 200 % of the best rate."""
    best, without_gain = 0.0, 0
    for callers in PEAK_CALLERS:
        step = run(*_callers(base, callers))
        yield step
        if step.interrupted:
            return
        without_gain = 0 if step.recording.throughput >= best * GAIN else without_gain + 1
        best = max(best, step.recording.throughput)
        if without_gain == TRIES:
            break
    if not best:
        raise BenchError("Not one photo was answered, so there is no peak. The errors above say why.")
    for share in (BELOW, BEYOND):
        step = run(*_rate(base, best * share, f"{percent(share)} of the peak: "))
        step.of_peak = share
        yield step


def planned_seconds(base: Load, steps: int) -> float:
    """Return how long so many steps take, but for what comes after the last photo of each."""
    return steps * (base.warm_up + base.seconds)


def most_steps_to_the_peak() -> int:
    """Return how many steps `find_peak` takes at most."""
    return len(PEAK_CALLERS) + 2


def _callers(base: Load, callers: int) -> tuple[str, Load]:
    return f"{callers} caller{'s' * (callers != 1)}", replace(base, callers=callers, rate=None)


def _rate(base: Load, rate: float, prefix: str = "") -> tuple[str, Load]:
    return f"{prefix}{rate:,.4g}/s", replace(base, rate=rate)


def percent(share: float) -> str:
    """Return a share in whole per cent."""
    return f"{share * 100:.0f} %"
