"""JAX is strict in this room's tests: no silent broadcasting of ranks, no silent change of types."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what XLA compiles for all tests and their subprocesses: it takes longer than to run it."""
    settings = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla"))}
    settings |= {"jax_persistent_cache_min_compile_time_secs": "0.5"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name.upper(), value)
            jax.config.update(name, float(value) if name.endswith("secs") else value)
        yield
        jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="module", autouse=True)
def compile_quickly() -> Iterator[None]:
    """Let XLA optimise little, here and in subprocesses: for so small networks, that takes longer than they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("standard"):
        yield


SHAPES = {("Airbus", "A320-214"): 0, ("Airbus", "A380-841"): 1, ("Boeing", "737-8AS"): 2, ("Boeing", "747-400"): 3}


@pytest.fixture(scope="session")
def paint_catalog() -> Callable[[Path, int], Path]:
    """Write a catalog of n pictures, in which the colour of a bar on a noisy ground tells the type."""

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
