"""Multi-head network compared with a cascade: a network for the constructor, then one for its types."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripts.bench.interleave import speedup, time_interleaved

from planespotter_models import Bundle, Engine


def measure(engine: Engine, model: Bundle, photos: NDArray[np.uint8], seconds: float) -> dict[str, float]:
    """Measure how many times as fast one pass over `photos` is as a cascade of two networks.

    All networks of the cascade would have the same trunk, so one engine stands for each of them.

    Args:
        engine: Engine for `model`.
        model: Bundle whose constructors the second stage is for.
        photos: uint8 [n, height, width, 3].
        seconds: Time to measure for.

    Returns:
        Speedup by wall-clock time ("wall") and by CPU time ("cpu"), which depends less on the load of the machine.
    """
    constructors = model.tree.constructors

    def one_pass() -> Any:
        return engine.run(photos)

    def cascade() -> Any:
        predicted = engine.run(photos)["constructor"].argmax(axis=1)
        # Random weights predict one constructor only; a real cascade runs the second network of each.
        predicted = np.arange(len(photos)) % len(constructors) if len(set(predicted)) < 2 else predicted
        return [engine.run(photos[predicted == index]) for index in set(predicted.tolist())]

    for warm_up in (one_pass, cascade):
        warm_up()
    wall, cpu = time_interleaved({"one_pass": one_pass, "cascade": cascade}, seconds)
    return {"wall": speedup(wall, "one_pass", "cascade"), "cpu": speedup(cpu, "one_pass", "cascade")}
