"""Train a network on a catalog. Read from top to bottom."""

import hashlib
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from flax import nnx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from planespotter_scraping import catalog
from planespotter_training import checkpoint, dataset, run
from planespotter_training.augment import augment
from planespotter_training.bundle import Calibration, Label, Thresholds
from planespotter_training.errors import TrainingError
from planespotter_training.grow_tree import grow
from planespotter_training.loader import batches
from planespotter_training.loss import node_loss
from planespotter_training.metrics import measure
from planespotter_training.predict import predict
from planespotter_training.recipes.recipe import Recipe
from planespotter_training.split import SPLITS, assign

HELDOUT_COLUMNS = ("photo_id", "file", "constructor", "family", "model", "source", "registration")


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
        _check_same(begun, recipe, constructors, catalog_folder, sha256, out)
    else:
        begun = _begin(photos, catalog_folder, sha256, recipe_name, recipe, out, constructors, console)
    tree = begun.tree
    _describe(begun, console)
    with console.status("Decoding the photos"):
        splits = dataset.reopen(out / "dataset")
        training, validation = (dataset.load(splits[split], tree, recipe) for split in ("train", "validation"))

    # ---------------------------------------------------------------- network and optimiser
    graph, weights, statistics = _split(checkpoint.build(recipe, tree))
    steps_per_epoch = max(1, len(training) // recipe.batch_size)
    total = steps_per_epoch * recipe.epochs
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
    checkpoints = checkpoint.manager(out)
    if checkpoints.latest_step() is not None:
        step = checkpoints.latest_step()
        network, optimiser_state, position = checkpoint.restore(
            checkpoints, nnx.merge_state(weights, statistics), optimiser_state
        )
        state = (*nnx.split_state(network, nnx.Param, ...), optimiser_state)
        iterator.set_state(position)
        console.print(f"Going on at step {step} of {total}.", highlight=False, soft_wrap=True)

    # ---------------------------------------------------------------- the loop
    log = (out / "log.jsonl").open("a", encoding="utf-8")
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
            if not np.isfinite(mean_loss):
                raise TrainingError(
                    f"The loss is {mean_loss} at step {step}: training has diverged. The last good checkpoint is of "
                    f"step {checkpoints.latest_step() or 0}. Train into another folder with a lower learning rate "
                    f"than {recipe.learning_rate:g}: --set learning_rate=..."
                )
            rate = len(losses) * recipe.batch_size / (time.perf_counter() - since)
            outputs = predict(partial(predict_step, state[0], state[1]), validation) if len(validation) else {}
            calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
            found = measure(tree, calibration, outputs, validation.labels, validation.sources) if outputs else []
            row: dict[str, Any] = {
                "step": step,
                "epoch": step / steps_per_epoch,
                "loss": mean_loss,
                "learning_rate": float(schedule(step - 1)),
                "photos_per_second": round(rate, 1),
                "validation": {f"{metric.source or 'all'}/{metric.name}": metric.value for metric in found},
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
        if stop.is_set():
            checkpoint.save(checkpoints, step, nnx.merge_state(state[0], state[1]), state[2], iterator)
    return step >= total


def _check_same(
    begun: run.Run, recipe: Recipe, constructors: Sequence[str], catalog_folder: Path, sha256: str, out: Path
) -> None:
    """Raise TrainingError unless the run in `out` was begun with just these."""
    if (begun.recipe, Path(begun.catalog)) != (recipe, catalog_folder.resolve()):
        difference = f"recipe {begun.recipe_name} on {begun.catalog}, perhaps with other settings"
    elif sorted(map(str.lower, begun.constructors)) != sorted({name.lower() for name in constructors}):
        difference = f"the constructors {', '.join(begun.constructors)}"
    elif begun.catalog_sha256 != sha256:
        difference = f"{begun.catalog} as it was before it changed"
    else:
        return
    raise TrainingError(
        f"{out} holds another run: {difference}. Name another folder with --out, or give what that run was begun with "
        "to go on with it."
    )


def _begin(
    photos: pd.DataFrame,
    catalog_folder: Path,
    sha256: str,
    recipe_name: str,
    recipe: Recipe,
    out: Path,
    constructors: Sequence[str],
    console: Console,
) -> run.Run:
    """Split the photos, grow the tree, and write the run folder: run.json last, so a run is whole or not there."""
    with console.status("Checking the photos"):
        catalog.check(catalog_folder, photos, hashes=True)
    photos["split"] = assign(photos)
    constructors = _known_constructors(constructors, photos)
    inside = photos["constructor"].isin(constructors)
    # Aircraft of other constructors are kept for the test: they should be answered with "unknown".
    outside = ~photos["constructor"].isin(["", *constructors]) & (photos["split"] == "test")

    notes = []

    def skip(file: str, error: Exception) -> None:
        console.print(f"Left out {file}: {error}", style="yellow", highlight=False, soft_wrap=True)
        notes.append(f"{file}: cannot be read; left out")

    with console.status("Writing the data set"):
        used = dataset.readable(photos[inside | outside], catalog_folder, skip)
        out.mkdir(parents=True, exist_ok=True)
        dataset.prepare(used, catalog_folder, out / "dataset")

    trained = used[used["split"] == "train"]
    if recipe.batch_size > len(trained):
        raise TrainingError(
            f"A batch of {recipe.batch_size} photos is more than the {len(trained)} to train on. "
            "Choose a smaller one with --set batch_size=..., or collect more photos."
        )
    labels = [Label(*row) for row in trained[["constructor", "family", "model"]].itertuples(index=False)]
    tree, fallen_back = grow(labels, constructors, recipe.min_photos)
    notes += fallen_back
    shown = trained.groupby("source")["constructor"].nunique()
    for source in sorted(shown.index[shown == 1]):
        notes.append(
            f"source {source or '(none)'}: shows one constructor only, so a photo of it counts "
            f"{recipe.lone_weight:g} instead of 1 for the constructor head"
        )
    columns = list(HELDOUT_COLUMNS)
    used[[*columns, "split"]].to_csv(out / "split.csv", index=False)
    heldout = used[used["split"] == "test"][columns].copy()
    heldout["file"] = [str((catalog_folder / file).resolve()) for file in heldout["file"]]
    heldout.to_csv(out / "heldout.csv", index=False)
    begun = run.Run(
        recipe_name=recipe_name,
        recipe=recipe,
        catalog=str(catalog_folder.resolve()),
        catalog_sha256=sha256,
        constructors=constructors,
        tree=tree,
        photos={split: int((used["split"] == split).sum()) for split in SPLITS},
        sources=dict(Counter(trained["source"])),
        notes=notes,
    )
    run.write(begun, out)
    return begun


def _known_constructors(names: Sequence[str], photos: pd.DataFrame) -> list[str]:
    """Return `names` as the catalog spells them, each once. Raises TrainingError unless it has two or more of them."""
    counts = photos["constructor"].value_counts()
    spelling = {str(name).lower(): str(name) for name in counts.index if name}
    missing = [name for name in names if name.lower() not in spelling]
    found = list(dict.fromkeys(spelling[name.lower()] for name in names if name.lower() in spelling))
    if missing or len(found) < 2:
        known = ", ".join(f"{name} ({counts[name]})" for name in spelling.values())
        lacking = f"the catalog has none of {', '.join(missing)}" if missing else f"only {', '.join(found)} was named"
        raise TrainingError(
            f"Training needs photos of two constructors or more; {lacking}. "
            f"The catalog has: {known or 'no photos'}. Choose with --constructors."
        )
    return found


def _describe(begun: run.Run, console: Console) -> None:
    sides = ", ".join(f"{n:,} {split}" for split, n in begun.photos.items())
    console.print(f"Photos: {sides}; split by airframe.", highlight=False, soft_wrap=True)
    for constructor, leaves in begun.tree.leaves.items():
        names = ", ".join(leaf.model or leaf.family or "all" for leaf in leaves)
        console.print(f"{constructor}: {len(leaves)} types: {names}", highlight=False, soft_wrap=True)
    for note in begun.notes:
        console.print(f"Note: {note}", style="dim", highlight=False, soft_wrap=True)


def _epoch_note(row: dict[str, Any]) -> str:
    validation = row["validation"]
    names = {"constructor": "constructor_accuracy", "type": "type_accuracy"}
    # With one source only there is no line for all of them.
    found = {
        short: [value for key, value in validation.items() if key.endswith("/" + name)][:1]
        for short, name in names.items()
    }
    scores = ", ".join(f"{short} {values[0]:.1%}" for short, values in found.items() if values)
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
