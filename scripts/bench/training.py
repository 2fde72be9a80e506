"""Training benchmark: photos per second, share of the device's peak, and time to the first step.

It runs the real training, on a catalog of noise. The peak is a product of matrices (bf16 on a GPU, float32 on a CPU),
measured in the same run. If PyTorch is installed, it trains the same network with the same optimizer, on photos that
are already on the device: only cases without augmentation are compared with it. Each part runs in a separate process.
Takes about two minutes.
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
"""Seconds for which each training is measured, after its first step."""

NO_AUGMENTATION = (
    "shift=0",
    "zoom=0",
    "brightness_contrast=0",
    "channel_mixing=0",
    "flip=false",
    "rotation=0",
    "shear=0",
    "randaugment_ops=0",
)
BENCHMARK = ("pretrained=false", "min_photos=1", "steps_per_epoch=1000000", "warmup_epochs=0", "unfreeze_epochs=0")
"""No pretrained weights, which cost the same, and no end of an epoch."""

CASES: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "cpu": {
        "small": ("small", ()),
        "small, no augmentation": ("small", NO_AUGMENTATION),
        "VGG16, 150 px, batches of 4, no augmentation": (
            "fine-tuned",
            (*NO_AUGMENTATION, "batch_size=4", "baseline_head=off"),
        ),
    },
    "gpu": {
        "small": ("small", ()),
        "best": ("best", ()),
        "fine-tuned": ("fine-tuned", ()),
        "all of VGG16, 150 px, batches of 128, no augmentation": (
            "fine-tuned",
            (*NO_AUGMENTATION, "batch_size=128", "baseline_head=off", "train_from=block1_conv1"),
        ),
    },
}
"""The cases by kind of device: a recipe and its overrides."""


def in_process(work: Callable[..., T], *arguments: Any) -> T:
    """Run `work` in a separate process: a process holds its device until it ends."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def write_catalog(folder: Path, photos: int, height: int, width: int) -> None:
    """Write a catalog of noise; the content does not affect the speed of training."""
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
    """Captures the console of a training, and stops the training some seconds after its first step."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def write(self, text: str) -> int:
        """Capture a text."""
        if "First step" in text:
            timer = threading.Timer(self._seconds, os.kill, (os.getpid(), signal.SIGTERM))
            timer.daemon = True
            timer.start()
        return super().write(text)


def train_here(recipe_name: str, changes: Sequence[str], folder: Path, seconds: float = SECONDS) -> dict[str, float]:
    """Measure photos per second of training, and the seconds to its first step."""
    from planespotter_training import recipes
    from planespotter_training.loop.job import TrainJob
    from planespotter_training.loop.train import train

    start = time.perf_counter()
    recipe = recipes.load(recipe_name, (*BENCHMARK, *changes))
    write_catalog(folder / "catalog", max(64, 3 * recipe.batch_size), recipe.height, recipe.width)
    output = StopLater(seconds)
    called = time.perf_counter()
    job = TrainJob(folder / "catalog", recipe_name, recipe, folder / "run", ("Airbus", "Boeing"))
    train(job, Console(file=output, width=200))
    rows = [json.loads(line) for line in (folder / "run" / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    first = next(line for line in output.getvalue().splitlines() if line.startswith("First step after"))
    return {
        "photos_per_second": rows[-1]["photos_per_second"],
        "steps": len(rows),
        "seconds_to_first_step": float(first.split()[3]),
        "seconds": time.perf_counter() - start,
        "seconds_of_training": time.perf_counter() - called,
    }


def device() -> dict[str, Any]:
    """Return the device that JAX trains on, and its peak in FLOP/s."""
    import jax

    from planespotter_training.loop import devices

    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    dtype = devices.compute_type("auto")
    return {
        "kind": kind,
        "name": jax.devices()[0].device_kind,
        "type": np.dtype(dtype).name,
        "peak": max(devices.measure_peak(dtype) for _ in range(5)),
    }


def step_flops(recipe_name: str, changes: Sequence[str]) -> float:
    """Return the FLOPs of a training step per photo."""
    from planespotter_models import LabelTree
    from planespotter_training import recipes
    from planespotter_training.network import checkpoint
    from planespotter_training.network.model import flops

    recipe = recipes.load(recipe_name, (*BENCHMARK, *changes))
    tree = LabelTree({"Airbus": {"A320": [], "A330": []}, "Boeing": {"737": [], "747": []}})
    return flops(checkpoint.build(recipe, tree), recipe.height, recipe.width)[1]


def pytorch_here(recipe_name: str, changes: Sequence[str]) -> float:
    """Measure the photos per second at which PyTorch trains the recipe's network, with photos on the device.

    The faster of its two memory formats counts.
    """
    from planespotter_training import recipes

    torch: Any = import_module("torch")
    recipe = recipes.load(recipe_name, (*BENCHMARK, *changes))
    target = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    return max(_pytorch_rate(torch, recipe, target, order) for order in (torch.channels_last, torch.contiguous_format))


def _pytorch_rate(torch: Any, recipe: Any, target: Any, memory_format: Any) -> float:
    network = _pytorch_network(torch, recipe).to(target, memory_format=memory_format)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(trained, recipe.learning_rate, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.RMSprop(trained, recipe.learning_rate, alpha=0.9, eps=1e-7)
    size = (recipe.batch_size, 3, recipe.height, recipe.width)
    photos = torch.randint(0, 256, size, dtype=torch.uint8, device=target).to(memory_format=memory_format)
    labels = torch.randint(0, 2, (recipe.batch_size,), device=target)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(target.type, torch.bfloat16, enabled=target.type == "cuda"):
            outputs = network(photos.to(torch.float32, memory_format=memory_format) - 110)
        torch.nn.functional.cross_entropy(outputs.float(), labels).backward()
        optimizer.step()

    def wait() -> None:
        if target.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    wait()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS / 2:
        step()
        steps += 1
        wait()
    return float(steps * recipe.batch_size / (time.perf_counter() - start))


def _pytorch_network(torch: Any, recipe: Any) -> Any:
    """Build the recipe's VGG16 trunk with one head; layers before `train_from` are frozen."""
    from planespotter_training.network.model import BLOCKS
    from planespotter_training.recipes.config import LAYERS

    nn = torch.nn
    layers, channels, number = [], 3, 0
    frozen = (*LAYERS, "heads").index(recipe.train_from)
    for widths in BLOCKS:
        for full in widths:
            out = max(1, round(full * recipe.channel_multiplier))
            block = [nn.Conv2d(channels, out, 3, padding=1), *([nn.BatchNorm2d(out)] if recipe.batch_norm else [])]
            for layer in block:
                layer.requires_grad_(number >= frozen)
            layers += [*block, nn.ReLU(inplace=True)]
            channels, number = out, number + 1
        layers.append(nn.MaxPool2d(2))
    if recipe.pooling == "flatten":
        layers.append(nn.Flatten())
        features = channels * (recipe.height // 32) * (recipe.width // 32)
    else:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        features = channels
    if recipe.hidden_units:
        layers += [nn.Linear(features, recipe.hidden_units), nn.ReLU()]
    layers += [nn.Dropout(recipe.dropout), nn.Linear(recipe.hidden_units or features, 2)]
    return nn.Sequential(*layers)


def measure(console: Console) -> dict[str, Any]:
    """Run all cases of this machine's kind of device."""
    machine = in_process(device)
    has_pytorch = find_spec("torch") is not None
    cases = []
    for name, (recipe, changes) in CASES[machine["kind"]].items():
        with console.status(f"Training {name}"), tempfile.TemporaryDirectory() as folder:
            speed = in_process(train_here, recipe, changes, Path(folder))
            peak = in_process(device)["peak"]  # measured again, since it varies on a shared machine
            share = speed["photos_per_second"] * in_process(step_flops, recipe, changes) / peak
            pytorch = (
                in_process(pytorch_here, recipe, changes)
                if has_pytorch and set(NO_AUGMENTATION) <= set(changes)
                else None
            )
        cases.append({"name": name, **speed, "share_of_peak": share, "peak": peak, "pytorch": pytorch})
    return {"cores": os.cpu_count(), "processor": platform.machine(), **machine, "pytorch": has_pytorch, "cases": cases}


def report(measured: dict[str, Any]) -> list[Any]:
    """Return a table and sentences."""
    table = Table("training", box=None, pad_edge=False)
    for heading in ("photos/s", "of the\npeak", "first\nstep", "PyTorch\nphotos/s", "PyTorch /\nthis"):
        table.add_column(heading, justify="right")
    for case in measured["cases"]:
        rate, other = case["photos_per_second"], case["pytorch"]
        table.add_row(
            case["name"],
            f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}",
            f"{case['share_of_peak']:.0%}",
            f"{case['seconds_to_first_step']:.0f} s",
            "" if other is None else f"{other:,.1f}" if other < 100 else f"{other:,.0f}",
            "" if other is None else f"{other / rate:.2f}",
        )
    notes = [
        f"\nOn {measured['name']} with {measured['cores']} cores; the peak is a product of {measured['type']} "
        f"matrices, {measured['peak'] / 1e12:,.3g} TFLOP/s.",
        "The time to the first step includes reading the catalog, writing the dataset and compiling.",
    ]
    if not measured["pytorch"]:
        notes.append("PyTorch is not installed, so there is no comparison.")
    return [table, *notes]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; print and write the results."""
    parser = argparse.ArgumentParser(description="Measure training on this machine.")
    parser.add_argument("--json", type=Path, help="file to write the results to")
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
