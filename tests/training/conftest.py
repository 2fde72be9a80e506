"""Fixtures: catalogs to train on, and strict JAX."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.jax_fixtures import compile_once, compile_quickly, strict_jax

__all__ = ["compile_once", "compile_quickly", "strict_jax"]


SHAPES = {("Airbus", "A320-214"): 0, ("Airbus", "A380-841"): 1, ("Boeing", "737-8AS"): 2, ("Boeing", "747-400"): 3}


@pytest.fixture(scope="session")
def paint_catalog() -> Callable[[Path, int], Path]:
    """Write a catalog of n images of a coloured bar on noise; the colour determines the type."""

    def write(folder: Path, n: int) -> Path:
        random = np.random.default_rng(7)
        (folder / "images").mkdir(parents=True)
        rows = []
        for number in range(n):
            (constructor, aircraft_type), shape = list(SHAPES.items())[number % len(SHAPES)]
            pixels = random.integers(90, 160, (40, 60, 3), np.uint8)
            pixels[12:28, 8:52] = ((250, 40, 40), (250, 200, 40), (40, 40, 250), (40, 220, 250))[shape]
            file = f"images/{number}.png"
            Image.fromarray(pixels).save(folder / file)
            rows.append(
                {
                    "photo_id": f"p{number}",
                    "source": "left" if number % 8 < 4 else "right",
                    "constructor": constructor,
                    "aircraft_type": aircraft_type,
                    "registration": f"N{number // 2}" if number % 3 else "",
                    "file": file,
                }
            )
        pd.DataFrame(rows).to_csv(folder / "catalog.csv", index=False)
        return folder

    return write
