"""When to send, if the server has no say in it."""

import random
from collections.abc import Iterator


def arrivals(rate: float, seconds: float, random_numbers: random.Random) -> Iterator[float]:
    """Yield the times in seconds, from 0 and below `seconds`, of a Poisson process of `rate` arrivals per second.

    The pauses are independent and exponentially distributed. So the processes of several generators put together are
    one of the sum of their rates.
    """
    now = random_numbers.expovariate(rate)
    while now < seconds:
        yield now
        now += random_numbers.expovariate(rate)
