"""Sweep: several loads in a row, over given values or in search of peak throughput."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from planespotter_client.bench.load_generator import Load
from planespotter_client.bench.measurements import BenchError, Measurements

PEAK_CALLERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# A step improves if its throughput grows by this factor; the search ends after this many steps without improvement.
MIN_IMPROVEMENT, MAX_STEPS_WITHOUT = 1.05, 2
# Shares of the peak that are offered after the search.
BELOW_PEAK, ABOVE_PEAK = 0.7, 2.0


@dataclass
class Step:
    """A load and its measurements."""

    name: str
    load: Load
    measurements: Measurements
    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start of the step, and the resident bytes of the server."""
    server_cpu: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start of the step, and the CPU seconds of the server until then."""
    interrupted: bool = False
    share_of_peak: float | None = None
    """Offered rate as a share of the peak, after a search for the peak."""

    @property
    def server_cores(self) -> float | None:
        """Mean number of cores that the server used; None if it was not measured."""
        if len(self.server_cpu) < 2:
            return None
        (first, first_cpu), (last, last_cpu) = self.server_cpu[0], self.server_cpu[-1]
        return (last_cpu - first_cpu) / (last - first)

    @property
    def generator_cores(self) -> float:
        """Mean number of cores that the generator used."""
        return self.measurements.cpu_seconds / self.measurements.seconds


RunLoad = Callable[[str, Load], Step]


def parse_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """Parse "callers=1,2,4" or "rate=50,100" into the name and the values.

    Raises:
        BenchError: The text is neither.
    """
    name, _, values = text.partition("=")
    try:
        numbers = tuple(float(value) for value in values.split(","))
    except ValueError:
        numbers = ()
    are_whole = name != "callers" or all(number == int(number) for number in numbers)
    if name not in ("callers", "rate") or not numbers or min(numbers) <= 0 or not are_whole:
        raise BenchError(f"--sweep cannot be {text!r}. Write callers=1,2,4,8 or rate=50,100,200 (photos per second).")
    return name, numbers


def sweep(base: Load, name: str, values: tuple[float, ...], run: RunLoad) -> Iterator[Step]:
    """Run `base` with each of the values of "callers" or "rate"."""
    for value in values:
        yield run(*(_with_callers(base, int(value)) if name == "callers" else _with_rate(base, value)))


def find_peak(base: Load, run: RunLoad) -> Iterator[Step]:
    """Run `base` with more and more callers until throughput peaks, then at 70 % and 200 % of the peak rate.

    Raises:
        BenchError: No photo was answered.
    """
    peak, without_improvement = 0.0, 0
    for callers in PEAK_CALLERS:
        step = run(*_with_callers(base, callers))
        yield step
        if step.interrupted:
            return
        throughput = step.measurements.throughput
        without_improvement = 0 if throughput >= peak * MIN_IMPROVEMENT else without_improvement + 1
        peak = max(peak, throughput)
        if without_improvement == MAX_STEPS_WITHOUT:
            break
    if not peak:
        raise BenchError("No photo was answered, so there is no peak. Fix the errors above.")
    for share in (BELOW_PEAK, ABOVE_PEAK):
        step = run(*_with_rate(base, peak * share, f"{format_percent(share)} of the peak: "))
        step.share_of_peak = share
        yield step


def planned_seconds(base: Load, steps: int) -> float:
    """Return the duration of `steps` steps, without the results that arrive after the last photo of each."""
    return steps * (base.warm_up + base.seconds)


def max_peak_steps() -> int:
    """Return the maximum number of steps of `find_peak`."""
    return len(PEAK_CALLERS) + 2


def _with_callers(base: Load, callers: int) -> tuple[str, Load]:
    return f"{callers} caller{'s' * (callers != 1)}", replace(base, callers=callers, rate=None)


def _with_rate(base: Load, rate: float, prefix: str = "") -> tuple[str, Load]:
    return f"{prefix}{rate:,.4g}/s", replace(base, rate=rate)


def format_percent(share: float) -> str:
    """Return a share as a whole percentage."""
    return f"{share * 100:.0f} %"
