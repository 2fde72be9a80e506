"""Parameter validation: TypeError and ValueError with the value, before anything is sent.

An invalid parameter is a bug in the calling program, so it is not a PlaneSpotterError.
"""

import math
from numbers import Integral, Real


def check_seconds(name: str, value: object) -> None:
    """Check a duration: a finite number of seconds, 0 or more.

    Args:
        name: Name of the parameter.
        value: Its value.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is negative, infinite or NaN.
    """
    message = f"{name} is invalid: {value!r}. Give a finite number of seconds, 0 or more."
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(message)
    if not (math.isfinite(value) and float(value) >= 0):  # gRPC takes infinity for a deadline in the past
        raise ValueError(message)


def check_optional_share(name: str, value: object) -> None:
    """Check a share or a probability, 0 to 1; None is valid. Raises TypeError or ValueError."""
    if value is None:
        return
    message = f"{name} is invalid: {value!r}. Give a number from 0 to 1."
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(message)
    if not 0 <= float(value) <= 1:
        raise ValueError(message)


def check_optional_seconds(**values: object) -> None:
    """Check durations by the names of their parameters; None is valid."""
    for name, value in values.items():
        if value is not None:
            check_seconds(name, value)


def check_integer(name: str, value: object) -> None:
    """Raise TypeError unless `value` is an integer."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is invalid: {value!r}. Give an integer.")


def check_count(name: str, value: int, minimum: int) -> None:
    """Check an integer of at least `minimum`. Raises TypeError or ValueError."""
    check_integer(name, value)
    if value < minimum:
        raise ValueError(f"{name} is invalid: {value!r}. Give an integer of at least {minimum}.")
