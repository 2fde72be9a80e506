"""One trunk for all heads, against a network for the constructor and then one for the types of the one it named."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripts.bench.interleave import in_turns, ratio

from planespotter_models import Bundle, Engine


def measure(engine: Engine, model: Bundle, photos: NDArray[np.uint8], seconds: float) -> dict[str, float]:
    """Return how many times as fast one pass over `photos` is as two networks in a chain, under the same engine.

    Once by the clock ("wall") and once by the time of the processor ("cpu"), which others disturb less. All networks
    of the chain have the same trunk, so one engine stands for each of them.
    """
    constructors = model.tree.constructors

    def one_pass() -> Any:
        return engine.run(photos)

    def chained() -> Any:
        named = engine.run(photos)["constructor"].argmax(axis=1)
        # Random weights name one constructor only; a chain has to be ready for all.
        named = np.arange(len(photos)) % len(constructors) if len(set(named)) < 2 else named
        return [engine.run(photos[named == index]) for index in set(named.tolist())]

    for work in (one_pass, chained):
        work()
    wall, processor = in_turns({"one": one_pass, "chained": chained}, seconds)
    return {"wall": ratio(wall, "one", "chained"), "cpu": ratio(processor, "one", "chained")}
