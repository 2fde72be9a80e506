"""Runs in tests: stop a training after some steps, and read what a run holds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from planespotter_training import run_folder
from planespotter_training.network import checkpoint


@contextmanager
def stop_after(steps: int) -> Iterator[object]:
    """Replace the signal by a stop after that many steps. The loop checks once before each step."""
    checks = iter(range(steps))

    class Stop:
        def is_set(self) -> bool:
            return next(checks, None) is None

    yield Stop()


def steps(folder: Path) -> list[dict[str, float]]:
    """Return the lines of steps.jsonl."""
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]


def weights(folder: Path) -> list[Any]:
    """Return the weights and batch statistics of the latest checkpoint."""
    run = run_folder.read(folder)
    return jax.tree.leaves(nnx.state(checkpoint.load_network(folder, run.recipe, run.tree)[0]))
