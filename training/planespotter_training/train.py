"""Train a network on a catalog. Read from top to bottom."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from planespotter_scraping import catalog
from planespotter_training import checkpoint, dataset, run
from planespotter_training.augment import augment
from planespotter_training.begin_run import begin, check_same
from planespotter_training.bundle import Calibration, Thresholds
from planespotter_training.errors import TrainingError
from planespotter_training.loader import batches
from planespotter_training.loss import node_loss
from planespotter_training.metrics import measure
from planespotter_training.predict import predict
from planespotter_training.recipes.recipe import Recipe


def train(
    catalog_folder: Path, recipe_name: str, recipe: Recipe, out: Path, constructors: Sequence[str], console: Console
) -> bool:
    """Train `recipe` on the catalog in `catalog_folder`, into the run folder `out`, or go on where a call stopped.

    Photos of other constructors than `constructors` are not trained on. Returns whether training is complete: Ctrl-C
    or SIGTERM saves a checkpoint and ends it early. Raises TrainingError or CatalogError.
    """
    # ---------------------------------------------------------------- photos
    photos = catalog.read(catalog_folder)
    sha256 = hashlib.sha256((catalog_folder / "catalog.csv").read_bytes()).hexdigest()
    if (out / "run.json").is_file():
        begun = run.read(out)
        check_same(begun, recipe, constructors, catalog_folder, sha256, out)
    else:
        begun = begin(photos, catalog_folder, sha256, recipe_name, recipe, out, constructors, console)
    tree = begun.tree
    _describe(begun, console)
    steps_per_epoch, total = _steps(begun)
    checkpoints = checkpoint.manager(out)
    if checkpoints.latest_step() == total:
        checkpoints.close()
        return True
    with console.status("Decoding the photos"):
        splits = dataset.reopen(out / "dataset")
        training, validation = (
            dataset.load(splits[split], tree, recipe, begun.sources) for split in ("train", "validation")
        )

    # ---------------------------------------------------------------- network and optimiser
    graph, weights, statistics = _split(checkpoint.build(recipe, tree))
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warmup, total)
    optimiser = optax.adamw(
        schedule, weight_decay=recipe.weight_decay, mask=partial(jax.tree.map, lambda weight: weight.ndim > 1)
    )
    optimiser_state = optimiser.init(weights)
    iterator = batches(training, batch_size=recipe.batch_size, source_balance=recipe.source_balance, seed=recipe.seed)

    # ---------------------------------------------------------------- the steps, compiled
    def loss_of(weights: Any, statistics: Any, photos: jax.Array, batch: dict[str, jax.Array], key: jax.Array) -> Any:
        network = nnx.merge(graph, weights, statistics, copy=True)
        outputs = network(photos, dropout_key=key)
        loss = node_loss(tree, outputs, batch["masks"], batch["constructor_weights"]).mean()
        return loss, _split(network)[2]

    @jax.jit
    def train_step(state: Any, batch: dict[str, jax.Array], step: jax.Array) -> Any:
        weights, statistics, optimiser_state = state
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), step))
        photos = augment(
            batch["photos"],
            augment_key,
            shift=recipe.shift,
            zoom=recipe.zoom,
            light=recipe.light,
            colour=recipe.colour,
        )
        (loss, statistics), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            weights, statistics, photos, batch, dropout_key
        )
        updates, optimiser_state = optimiser.update(gradients, optimiser_state, weights)
        return (optax.apply_updates(weights, updates), statistics, optimiser_state), loss

    @jax.jit
    def predict_step(weights: Any, statistics: Any, photos: jax.Array) -> dict[str, jax.Array]:
        outputs: dict[str, jax.Array] = nnx.merge(graph, weights, statistics)(photos)
        return outputs

    # ---------------------------------------------------------------- resume
    state, step = (weights, statistics, optimiser_state), 0
    if checkpoints.latest_step() is not None:
        step = checkpoints.latest_step()
        network, optimiser_state, position = checkpoint.restore(
            checkpoints, nnx.merge_state(weights, statistics), optimiser_state
        )
        state = (*nnx.split_state(network, nnx.Param, ...), optimiser_state)
        iterator.set_state(position)
        console.print(f"Going on at step {step} of {total}.", highlight=False, soft_wrap=True)

    # ---------------------------------------------------------------- the loop
    log = _open_log(out / "log.jsonl", step)
    with checkpoints, log, _stop_on_signal() as stop, _progress(console) as progress:
        bar = progress.add_task("training", total=total, completed=step, note="")
        losses: list[jax.Array] = []
        since = time.perf_counter()
        while step < total and not stop.is_set():
            batch = next(iterator)
            state, loss = train_step(
                state, {name: batch[name] for name in ("photos", "masks", "constructor_weights")}, jnp.int32(step)
            )
            losses.append(loss)
            step += 1
            progress.update(bar, completed=step)
            if step % steps_per_epoch and step < total:
                continue
            # -------------------------------------------------------- end of an epoch
            mean_loss = float(np.mean(jax.device_get(losses)))
            rate = len(losses) * recipe.batch_size / (time.perf_counter() - since)
            outputs = predict(partial(predict_step, state[0], state[1]), validation)
            if not np.isfinite([mean_loss, *(output.sum() for output in outputs.values())]).all():
                raise TrainingError(
                    f"The network's outputs or its loss ({mean_loss}) are no numbers any more at step {step}: training "
                    f"has diverged. The last good checkpoint is of step {checkpoints.latest_step() or 0}. Train into "
                    f"another folder with a lower learning rate than {recipe.learning_rate:g}: --set learning_rate=..."
                )
            calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
            found = measure(tree, calibration, outputs, validation.labels, validation.sources)
            row: dict[str, Any] = {
                "step": step,
                "epoch": step / steps_per_epoch,
                "loss": mean_loss,
                "learning_rate": float(schedule(step - 1)),
                "photos_per_second": round(rate, 1),
                "validation": {
                    f"{metric.source or 'all'}/{metric.name}": metric.value
                    for metric in found
                    if "accuracy" in metric.name and metric.name != "sure_accuracy"  # not calibrated yet
                },
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            checkpoint.save(checkpoints, step, nnx.merge_state(state[0], state[1]), state[2], iterator)
            progress.update(bar, note=_epoch_note(row))
            if not console.is_terminal:
                console.print(
                    f"epoch {round(row['epoch'])} of {recipe.epochs}: {_epoch_note(row)}",
                    highlight=False,
                    soft_wrap=True,
                )
            losses, since = [], time.perf_counter()
        if stop.is_set() and np.isfinite(jax.device_get(losses)).all():
            checkpoint.save(checkpoints, step, nnx.merge_state(state[0], state[1]), state[2], iterator)
    return step >= total


def _steps(begun: run.Run) -> tuple[int, int]:
    """Return how many steps an epoch has, and how many the whole training."""
    per_epoch = begun.photos["train"] // begun.recipe.batch_size
    return per_epoch, per_epoch * begun.recipe.epochs


def _open_log(path: Path, step: int) -> TextIO:
    """Open the log to append to it, without the lines of epochs after `step`, which a kill may have left there."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):  # a line that was cut short
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    temporary = path.with_name(f".log.{os.getpid()}")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.rename(path)
    return path.open("a", encoding="utf-8")


def _describe(begun: run.Run, console: Console) -> None:
    sides = ", ".join(f"{n:,} {split}" for split, n in begun.photos.items())
    console.print(
        f"Photos: {sides}; split by airframe where the registration is known.", highlight=False, soft_wrap=True
    )
    for constructor, leaves in begun.tree.leaves.items():
        names = ", ".join(leaf.model or leaf.family or "all" for leaf in leaves)
        console.print(f"{constructor}: {len(leaves)} types: {names}", highlight=False, soft_wrap=True)
    for note in begun.notes:
        console.print(f"Note: {note}", style="dim", highlight=False, soft_wrap=True)


def _epoch_note(row: dict[str, Any]) -> str:
    validation = row["validation"]
    names = {"constructor": "all/constructor_accuracy", "type": "all/path_accuracy"}
    scores = ", ".join(f"{short} {validation[name]:.1%}" for short, name in names.items() if name in validation)
    return f"loss {row['loss']:.3f}, validation {scores or '-'}, {row['photos_per_second']:.0f} photos/s"


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _split(network: nnx.Module) -> tuple[Any, Any, Any]:
    """Return the graph of `network`, its weights, and the rest: the running statistics of batch normalisation."""
    graph, weights, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc] # as many as asked for
    return graph, weights, statistics


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into an event; a second one ends the process as usual."""
    stop = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stop
        return
    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
