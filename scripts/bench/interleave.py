"""Interleaved timing: run several functions round by round, as only times from the same period are comparable."""

import statistics
import time
from collections.abc import Callable, Mapping

Times = dict[str, list[float]]
"""Seconds of each run, by name."""


def time_interleaved(
    functions: Mapping[str, Callable[[], object]], seconds: float, min_rounds: int = 3, max_rounds: int = 25
) -> tuple[Times, Times]:
    """Run each function once per round, and time every run.

    The order is reversed from round to round, so that no function always runs after the same other one.

    Args:
        functions: What to time, by name.
        seconds: Start no new round after this time.
        min_rounds: Minimum number of rounds, regardless of `seconds`.
        max_rounds: Maximum number of rounds.

    Returns:
        Wall-clock times and CPU times of this process.
    """
    wall: Times = {name: [] for name in functions}
    cpu: Times = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    for number in range(max_rounds):
        if number >= min_rounds and time.perf_counter() > end:
            break
        for name in list(functions) if number % 2 == 0 else reversed(list(functions)):
            cpu_start, start = time.process_time(), time.perf_counter()
            functions[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - cpu_start)
    return wall, cpu


def speedup(times: Times, name: str, baseline: str) -> float:
    """Return how many times as fast `name` is as `baseline`: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(times[name], times[baseline], strict=True))
