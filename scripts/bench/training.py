"""Measure training on this machine: photos per second, the share of its ceiling, and the time to the first step.

The training is the real one, of a catalog of noise. Its ceiling is the device's largest easy task, a product of
matrices (bf16 on a GPU, float32 on a CPU), measured in the same run. If PyTorch can be imported, it trains the same
network by the same optimiser beside it, on photos that lie ready: only what is trained without augmentation is
held against it. Each part has a process of its own. Takes about two minutes.
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

T = TypeVar("T")

SECONDS = 6.0
"""How long each training is measured, after its first step."""

PLAIN = ("shift=0", "zoom=0", "light=0", "colour=0", "flip=false", "rotation=0", "shear=0", "random_ops=0")
"""Without augmentation."""
AS_IT_IS = ("pretrained=false", "min_photos=1", "steps_per_epoch=1000000", "warmup_epochs=0", "unfreeze_epochs=0")
"""Neither weights from elsewhere, which cost the same, nor the end of an epoch."""

CASES: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "cpu": {
        "small": ("small", ()),
        "small, no augmentation": ("small", PLAIN),
        "VGG16, 150 px, batches of 4, no augmentation": ("fine-tuned", (*PLAIN, "batch_size=4", "control=off")),
    },
    "gpu": {
        "small": ("small", ()),
        "best": ("best", ()),
        "fine-tuned": ("fine-tuned", ()),
        "all of VGG16, 150 px, batches of 128, no augmentation": (
            "fine-tuned",
            (*PLAIN, "batch_size=128", "control=off", "train_from=block1_conv1"),
        ),
    },
}
"""For each kind of device, what is trained: a recipe and the changes to it."""


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """Return what `work` returns in a process of its own: a device is held as long as a process lives."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def write_catalog(folder: Path, photos: int, height: int, width: int) -> None:
    """Write a catalog of noise: how fast a network learns does not depend on what there is to be learnt."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    types = ("Airbus,A320-214", "Airbus,A330-243", "Boeing,737-8AS", "Boeing,747-400")
    lines = ["photo_id,source,constructor,aircraft_type,registration,file"]
    for number in range(photos):
        file = f"images/{number}.png"
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / file)
        lines.append(f"p{number},noise,{types[number % len(types)]},N{number},{file}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


class StopLater(io.StringIO):
    """What training says goes here; some time after it has said that the first step is done, it is asked to stop."""

    def write(self, text: str) -> int:
        """Take a text of the console."""
        if "First step" in text:
            timer = threading.Timer(SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
            timer.daemon = True
            timer.start()
        return super().write(text)


def train_here(recipe_name: str, changes: Sequence[str], folder: Path) -> dict[str, float]:
    """Return photos per second of training, and the seconds until its first step was done."""
    from planespotter_training import recipes
    from planespotter_training.loop.train import train

    began = time.perf_counter()
    recipe = recipes.load(recipe_name, (*AS_IT_IS, *changes))
    write_catalog(folder / "catalog", max(64, 3 * recipe.batch_size), recipe.height, recipe.width)
    said = StopLater()
    called = time.perf_counter()
    train(folder / "catalog", recipe_name, recipe, folder / "run", ("Airbus", "Boeing"), Console(file=said, width=200))
    rows = [json.loads(line) for line in (folder / "run" / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    first = next(line for line in said.getvalue().splitlines() if line.startswith("First step after"))
    return {
        "photos_per_second": rows[-1]["photos_per_second"],
        "steps": len(rows),
        "seconds_to_first_step": float(first.split()[3]),
        "seconds": time.perf_counter() - began,
        "seconds_of_training": time.perf_counter() - called,
    }


def device() -> dict[str, Any]:
    """Return what JAX trains on here, and its ceiling in operations per second."""
    import jax

    from planespotter_training.loop import devices

    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    dtype = devices.compute_type("auto")
    return {
        "kind": kind,
        "name": jax.devices()[0].device_kind,
        "type": np.dtype(dtype).name,
        "ceiling": max(devices.measure_peak(dtype) for _ in range(5)),
    }


def operations(recipe_name: str, changes: Sequence[str]) -> float:
    """Return the operations of one photo in a step of training."""
    from planespotter_models import LabelTree
    from planespotter_training import recipes
    from planespotter_training.network import checkpoint
    from planespotter_training.network.model import flops

    recipe = recipes.load(recipe_name, (*AS_IT_IS, *changes))
    tree = LabelTree({"Airbus": {"A320": [], "A330": []}, "Boeing": {"737": [], "747": []}})
    return flops(checkpoint.build(recipe, tree), recipe.height, recipe.width)[1]


def pytorch_here(recipe_name: str, changes: Sequence[str]) -> float:
    """Return the photos per second at which PyTorch trains the recipe's network, photos lying ready on the device.

    The better of its two orders of channels counts.
    """
    from planespotter_training import recipes

    torch: Any = import_module("torch")
    recipe = recipes.load(recipe_name, (*AS_IT_IS, *changes))
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    return max(_pytorch_rate(torch, recipe, place, order) for order in (torch.channels_last, torch.contiguous_format))


def _pytorch_rate(torch: Any, recipe: Any, place: Any, order: Any) -> float:
    network = _pytorch_network(torch, recipe).to(place, memory_format=order)
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    if recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(learning, recipe.learning_rate, weight_decay=recipe.weight_decay)
    else:
        optimiser = torch.optim.RMSprop(learning, recipe.learning_rate, alpha=0.9, eps=1e-7)
    size = (recipe.batch_size, 3, recipe.height, recipe.width)
    photos = torch.randint(0, 256, size, dtype=torch.uint8, device=place).to(memory_format=order)
    labels = torch.randint(0, 2, (recipe.batch_size,), device=place)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
            said = network(photos.to(torch.float32, memory_format=order) - 110)
        torch.nn.functional.cross_entropy(said.float(), labels).backward()
        optimiser.step()

    def wait() -> None:
        if place.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    wait()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS / 2:
        step()
        steps += 1
        wait()
    return float(steps * recipe.batch_size / (time.perf_counter() - began))


def _pytorch_network(torch: Any, recipe: Any) -> Any:
    """Return the trunk of VGG16 with one head, as the recipe has it; what comes before `train_from` does not learn."""
    from planespotter_training.network.model import BLOCKS
    from planespotter_training.recipes.config import LAYERS

    nn = torch.nn
    layers, channels, place = [], 3, 0
    frozen = (*LAYERS, "heads").index(recipe.train_from)
    for widths in BLOCKS:
        for full in widths:
            out = max(1, round(full * recipe.channels))
            made = [nn.Conv2d(channels, out, 3, padding=1), *([nn.BatchNorm2d(out)] if recipe.norm else [])]
            for layer in made:
                layer.requires_grad_(place >= frozen)
            layers += [*made, nn.ReLU(inplace=True)]
            channels, place = out, place + 1
        layers.append(nn.MaxPool2d(2))
    if recipe.pooling == "flatten":
        layers.append(nn.Flatten())
        features = channels * (recipe.height // 32) * (recipe.width // 32)
    else:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        features = channels
    if recipe.hidden:
        layers += [nn.Linear(features, recipe.hidden), nn.ReLU()]
    layers += [nn.Dropout(recipe.dropout), nn.Linear(recipe.hidden or features, 2)]
    return nn.Sequential(*layers)


def measure(console: Console) -> dict[str, Any]:
    """Return all figures."""
    machine = apart(device)
    has_pytorch = find_spec("torch") is not None
    found = []
    for name, (recipe, changes) in CASES[machine["kind"]].items():
        with console.status(f"Training {name}"), tempfile.TemporaryDirectory() as folder:
            figures = apart(train_here, recipe, changes, Path(folder))
            ceiling = apart(device)["ceiling"]  # again, right after: on a shared machine it changes
            share = figures["photos_per_second"] * apart(operations, recipe, changes) / ceiling
            pytorch = apart(pytorch_here, recipe, changes) if has_pytorch and set(PLAIN) <= set(changes) else None
        found.append({"name": name, **figures, "share_of_ceiling": share, "ceiling": ceiling, "pytorch": pytorch})
    return {"cores": os.cpu_count(), "processor": platform.machine(), **machine, "pytorch": has_pytorch, "cases": found}


def report(measured: dict[str, Any]) -> list[Any]:
    """Return a table and sentences."""
    table = Table("training", box=None, pad_edge=False)
    for heading in ("photos/s", "of the\nceiling", "first\nstep", "PyTorch\nphotos/s", "PyTorch /\nthis"):
        table.add_column(heading, justify="right")
    for case in measured["cases"]:
        rate, other = case["photos_per_second"], case["pytorch"]
        table.add_row(
            case["name"],
            f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}",
            f"{case['share_of_ceiling']:.0%}",
            f"{case['seconds_to_first_step']:.0f} s",
            "" if other is None else f"{other:,.1f}" if other < 100 else f"{other:,.0f}",
            "" if other is None else f"{other / rate:.2f}",
        )
    said = [
        f"\nOn {measured['name']} with {measured['cores']} cores; the ceiling is a product of {measured['type']} "
        f"matrices, {measured['ceiling'] / 1e12:,.3g} TFLOP/s.",
        "The first step is counted from the call: it holds reading the catalog, writing the data set and compiling.",
    ]
    if not measured["pytorch"]:
        said.append("PyTorch is not installed, so nothing is held against it.")
    return [table, *said]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description="Measure training on this machine.")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    path = parser.parse_args(arguments).json
    measured = measure(Console(stderr=True))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    console = Console(highlight=False)
    for part in report(measured):
        console.print(part)


if __name__ == "__main__":
    main()
