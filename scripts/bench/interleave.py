"""Time several works in turns: machines are noisy, so only what ran side by side is compared."""

import statistics
import time
from collections.abc import Callable, Mapping

Times = dict[str, list[float]]


def in_turns(
    works: Mapping[str, Callable[[], object]], seconds: float, least: int = 3, most: int = 25
) -> tuple[Times, Times]:
    """Run each of `works` once in each round, for about `seconds`, and return how long each run took, by name.

    The first times are those of the clock, the second those of the processor. The order turns round from round to
    round, so that none always follows the same other.
    """
    wall: Times = {name: [] for name in works}
    processor: Times = {name: [] for name in works}
    end = time.perf_counter() + seconds
    for number in range(most):
        if number >= least and time.perf_counter() > end:
            break
        for name in list(works) if number % 2 == 0 else reversed(list(works)):
            used, began = time.process_time(), time.perf_counter()
            works[name]()
            wall[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)
    return wall, processor


def ratio(times: Times, name: str, of: str) -> float:
    """Return how many times as fast `name` is as `of`: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(times[name], times[of], strict=True))
