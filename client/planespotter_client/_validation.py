"""Numbers that a caller gives, checked before anything is done with them. What is wrong with one is said in a sentence.

A number of the wrong kind is a TypeError, one that is too small a ValueError: both are mistakes in the program that
calls, and nothing for `except PlaneSpotterError`.
"""

import math
from numbers import Integral, Real


def seconds(name: str, given: object) -> None:
    """Check a time, which is 0 or more; `name` is that of the parameter. Raises TypeError and ValueError."""
    text = f"{name} is {given!r}, but must be a finite number of seconds, 0 or more."
    if not isinstance(given, Real) or isinstance(given, bool):
        raise TypeError(text)
    if not (math.isfinite(given) and float(given) >= 0):  # to gRPC, infinity is over at once
        raise ValueError(text)


def seconds_if_given(**given: object) -> None:
    """Check times by the names of their parameters; None stands for one that was not given."""
    for name, value in given.items():
        if value is not None:
            seconds(name, value)


def whole(name: str, given: object) -> None:
    """Check a number that is to be whole. Raises TypeError."""
    if not isinstance(given, Integral) or isinstance(given, bool):
        raise TypeError(f"{name} is {given!r}, but must be a whole number.")


def count(name: str, given: int, least: int) -> None:
    """Check a whole number, which is `least` or more. Raises TypeError and ValueError."""
    whole(name, given)
    if given < least:
        raise ValueError(f"{name} is {given!r}, but must be {least} or more.")
