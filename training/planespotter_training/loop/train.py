"""Train a network on a catalog. Read from top to bottom."""

import fcntl
import hashlib
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
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

from planespotter_models import CONSTRUCTOR_HEAD, Calibration, LabelTree, Thresholds
from planespotter_scraping import catalog
from planespotter_training import run_folder
from planespotter_training.data import dataset
from planespotter_training.data.augment import augment
from planespotter_training.data.dataset import Examples
from planespotter_training.data.sampler import batches
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation.metrics import measure
from planespotter_training.evaluation.predict import BATCH, predict
from planespotter_training.loop import devices, optimizer
from planespotter_training.loop.prepare_run import begin, check_same
from planespotter_training.network import checkpoint, pretrained
from planespotter_training.network.loss import as_chain, node_loss
from planespotter_training.network.model import flops
from planespotter_training.recipes.config import Recipe

SAVE_SECONDS = 600
"""A checkpoint is made after each epoch, and within a longer one as often as this."""

BEHIND = 2
"""Steps whose results are not awaited before the next one is started, so that the device never waits."""

CONTROL = "control "
"""Before the names of the heads, in what is predicted, of those that the flat softmax amounts to."""

AUGMENTATION = (
    "shift",
    "zoom",
    "light",
    "colour",
    "flip",
    "rotation",
    "shear",
    "random_ops",
    "random_strength",
    "fill",
)


def train(
    catalog_folder: Path,
    recipe_name: str,
    recipe: Recipe,
    out: Path,
    constructors: Sequence[str],
    console: Console,
    *,
    start: pretrained.Start | None = None,
    left_out: Mapping[str, Sequence[str]] | None = None,
    memory: int | None = None,
    like: Path | None = None,
) -> bool:
    """Train `recipe` on the catalog in `catalog_folder`, into the run folder `out`, or go on where a call stopped.

    Photos of other constructors than `constructors` are not trained on. The trunk begins with `start`. Photos of the
    "sources" and "airlines" in `left_out` are kept for the test. Photos of up to `memory` bytes stay on the device.
    A run `like` on the same photos shares its data set. Returns whether training is complete: Ctrl-C or SIGTERM saves a
    checkpoint and ends it early. Raises TrainingError or CatalogError.
    """
    called = time.perf_counter()
    with ExitStack() as open_files:
        # ------------------------------------------------------------ devices
        devices.initialise()
        layout = devices.Layout()
        if recipe.batch_size % layout.devices:
            raise TrainingError(
                f"A batch of {recipe.batch_size} photos cannot be shared evenly by {layout.devices} devices. "
                f"Choose a multiple of {layout.devices} with --set batch_size=..."
            )
        if not devices.is_first():
            console = Console(quiet=True)

        # ------------------------------------------------------------ photos
        if devices.is_first():
            photos = catalog.read(catalog_folder)
            sha256 = hashlib.sha256((catalog_folder / "catalog.csv").read_bytes()).hexdigest()
            if not out.exists():
                out.mkdir(parents=True)
            if out.is_dir():
                open_files.enter_context(_lock(out))
            origin = start.origin if start else ""
            if (out / "run.json").is_file():
                check_same(run_folder.read(out), recipe, constructors, catalog_folder, sha256, out, origin, left_out)
            else:
                begin(
                    photos,
                    catalog_folder,
                    sha256,
                    recipe_name,
                    recipe,
                    out,
                    constructors,
                    console,
                    origin,
                    left_out,
                    like,
                )
        devices.wait_for_all("the run has begun")
        begun = run_folder.read(out)
        tree = begun.tree
        if like is None:  # or it has just been said
            _describe(begun, console)
        steps_per_epoch, total = _steps(begun)
        checkpoints = open_files.enter_context(checkpoint.manager(out))
        if checkpoints.latest_step() == total:
            return True
        with console.status("Decoding the photos"):
            splits = dataset.reopen(out / "dataset")
            limit = devices.memory_for_photos() if memory is None else memory
            training, validation = (
                dataset.load(splits[split], tree, recipe, begun.sources, limit) for split in ("train", "validation")
            )

        # ------------------------------------------------------------ network and optimiser
        network = checkpoint.build(recipe, tree, devices.compute_type(recipe.precision))
        if start is not None and checkpoints.latest_step() is None:
            pretrained.apply(start, network, console)
        operations = flops(network, recipe.height, recipe.width)[1]
        graph, weights, statistics = _split(network)
        warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
        rate = optimizer.schedule(recipe, warmup, total)
        optimiser = optimizer.optimiser(recipe, rate, weights)
        share_out = optimizer.shares(recipe, steps_per_epoch, weights)
        state = {"weights": weights, "statistics": statistics, "optimiser": optimiser.init(weights)}
        if recipe.ema:
            state["average"] = jax.tree.map(jnp.copy, {"weights": weights, "statistics": statistics})
        # A small set of photos lives on the device, and each step picks its batch there; a large one streams.
        held = None if training.held is None else layout.put(training.held, layout.everywhere)
        of_each = recipe.batch_size // jax.process_count()
        mine = slice(jax.process_index() * of_each, (jax.process_index() + 1) * of_each)
        iterator = batches(
            training,
            batch_size=recipe.batch_size,
            source_balance=recipe.source_balance,
            type_balance=recipe.type_balance,
            seed=recipe.seed,
            own=mine if held is None else None,
        )

        # ------------------------------------------------------------ the steps, compiled
        def loss_of(
            weights: Any, statistics: Any, photos: jax.Array, batch: dict[str, jax.Array], key: jax.Array
        ) -> Any:
            network = nnx.merge(graph, weights, statistics, copy=True)
            features = network.features(photos, dropout_key=key)
            outputs = network.chain(features)
            targets = batch["masks"], batch["constructor_weights"]
            losses = node_loss(tree, outputs, *targets, smoothing=recipe.label_smoothing)
            loss = losses.mean()
            if recipe.control != "off":
                control = as_chain(tree, network.flat(features))
                loss += node_loss(tree, control, *targets, smoothing=recipe.label_smoothing).mean()
            if recipe.l2:
                dense = [*network.heads.values(), *([network.hidden] if network.hidden else [])]
                loss += recipe.l2 * sum((layer.kernel[...] ** 2).sum() for layer in dense)
            seen = {"losses": losses, "right": _right_constructor(tree, outputs, batch["masks"])}
            return loss, (seen, _split(network)[2])

        @partial(jax.jit, out_shardings=layout.everywhere, donate_argnames="state")
        def train_step(state: Any, held: jax.Array | None, batch: dict[str, jax.Array], step: jax.Array) -> Any:
            augment_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(recipe.seed), step))
            photos = batch["photos"] if held is None else held[batch["index"]]
            photos = jax.lax.with_sharding_constraint(photos, layout.shared)
            photos = augment(photos, augment_key, **{name: getattr(recipe, name) for name in AUGMENTATION})
            (_, (seen, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                state["weights"], state["statistics"], photos, batch, dropout_key
            )
            updates, optimiser_state = optimiser.update(gradients, state["optimiser"], state["weights"])
            weights = optax.apply_updates(state["weights"], share_out(updates, step))
            new = {"weights": weights, "statistics": statistics, "optimiser": optimiser_state}
            if recipe.ema:
                # Young averages forget faster, or they would be of the first weights for long. The statistics of batch
                # normalisation are averaged too: those of the last weights do not fit the average of many.
                share = 1 - jnp.minimum(recipe.ema, (1 + step) / (10 + step))
                new["average"] = jax.tree.map(
                    lambda mean, one: mean + (one - mean) * share,  # in this form, what stays as it is stays exactly so
                    state["average"],
                    {"weights": weights, "statistics": statistics},
                )
            return new, seen | {"gradient_norm": optax.tree.norm(gradients), "weight_norm": optax.tree.norm(weights)}

        @partial(jax.jit, out_shardings=layout.everywhere)
        def predict_step(weights: Any, statistics: Any, photos: jax.Array) -> dict[str, jax.Array]:
            network = nnx.merge(graph, weights, statistics)
            outputs: dict[str, jax.Array] = network(photos)
            if recipe.control != "off":
                control = as_chain(tree, network.flat(network.features(photos)))
                outputs |= {CONTROL + head: output for head, output in control.items()}
            return outputs

        def outputs_of(examples: Examples) -> tuple[dict[str, Any], dict[str, Any]]:
            """Return what the chain and what the control say to `examples`; nothing for a control that is not there."""
            answering = state.get("average", state)
            sharding = layout.everywhere if BATCH % layout.devices else layout.shared

            def step(photos: Any) -> Any:
                return predict_step(answering["weights"], answering["statistics"], layout.put(photos, sharding))

            outputs = predict(step, examples)
            control = {head.removeprefix(CONTROL): part for head, part in outputs.items() if head.startswith(CONTROL)}
            return {head: part for head, part in outputs.items() if not head.startswith(CONTROL)}, control

        # ------------------------------------------------------------ resume
        state, step = layout.put(state, layout.everywhere), 0
        if checkpoints.latest_step() is not None:
            step = checkpoints.latest_step()
            state, position = checkpoint.restore(checkpoints, state)
            iterator.set_state(position)
            console.print(f"Going on at step {step} of {total}.", highlight=False, soft_wrap=True)

        # ------------------------------------------------------------ the loop
        first = step + 1
        peak = devices.measure_peak(devices.compute_type(recipe.precision)) * layout.devices
        log = open_files.enter_context(_open_log(out / "log.jsonl", step))
        step_log = open_files.enter_context(_open_log(out / "steps.jsonl", step))
        stop = open_files.enter_context(_stop_on_signal())
        progress = open_files.enter_context(_progress(console))
        bar = progress.add_task("training", total=total, completed=step, speed="")
        pending: deque[tuple[int, Any, Any]] = deque()
        begun_epoch = step - step % steps_per_epoch
        done: list[dict[str, float]] = [row for row in _lines(out / "steps.jsonl") if row["step"] > begun_epoch]
        timed = 0
        since = saved = time.perf_counter()

        def settle(left: int) -> None:
            """Await the results of all but the last `left` steps, and write them down. Raises TrainingError."""
            nonlocal since, timed
            while len(pending) > left:
                number, index, results = pending.popleft()
                seen = jax.device_get(results)
                # The weights too: the last step before a checkpoint has no next one to find them out.
                if not all(np.isfinite(seen[name]).all() for name in ("losses", "gradient_norm", "weight_norm")):
                    raise TrainingError(_diverged(number, index, seen["losses"], training, checkpoints, recipe))
                if number == first:  # which was compiled before it ran: it says nothing about speed
                    since, speed = time.perf_counter(), 0.0
                    console.print(f"First step after {since - called:.0f} s.", style="dim", highlight=False)
                else:
                    timed += 1
                    speed = timed * recipe.batch_size / (time.perf_counter() - since)
                row = {
                    "step": number,
                    "loss": float(seen["losses"].mean()),
                    "constructor_accuracy": float(seen["right"].mean()),
                    "gradient_norm": float(seen["gradient_norm"]),
                    "learning_rate": float(rate(number - 1)),
                    "photos_per_second": round(speed, 1),
                }
                done.append(row)
                step_log.write(json.dumps(row) + "\n")
                share = f"{speed * operations / peak:.0%} of peak"
                progress.update(bar, completed=number, speed=f"{speed:.0f} photos/s, {share}")

        def save() -> None:
            nonlocal saved
            step_log.flush()
            checkpoint.save(checkpoints, step, state, iterator)
            saved = time.perf_counter()

        while step < total:
            stopping, due = devices.agree(stop.is_set(), time.perf_counter() - saved > SAVE_SECONDS)
            if stopping:
                break
            if due:
                settle(0)
                save()
            drawn = next(iterator)
            batch = {name: layout.put(drawn[name], layout.shared) for name in ("masks", "constructor_weights", "index")}
            if "photos" in drawn:
                batch["photos"] = layout.put_own(drawn["photos"])
            state, results = train_step(state, held, batch, jnp.int32(step))
            step += 1
            pending.append((step, drawn["index"], results))
            settle(BEHIND)
            if step % steps_per_epoch and step < total:
                continue
            # -------------------------------------------------------- end of an epoch
            settle(0)
            mean = {name: float(np.mean([row[name] for row in done])) for name in ("loss", "constructor_accuracy")}
            speed = timed * recipe.batch_size / (time.perf_counter() - since)
            outputs, control = outputs_of(validation)
            if not np.isfinite([output.sum() for output in outputs.values()]).all():
                raise TrainingError(_diverged(step, [], [], training, checkpoints, recipe))
            row: dict[str, Any] = {
                "step": step,
                "epoch": step / steps_per_epoch,
                **mean,
                "learning_rate": float(rate(step - 1)),
                "photos_per_second": round(speed, 1),
                "share_of_peak": round(speed * operations / peak, 3),
                "validation": {
                    "loss": _loss(tree, outputs, validation),
                    **_accuracies(tree, outputs, validation),
                },
                "control": _accuracies(tree, control, validation) if control else {},
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            save()
            console.print(
                f"epoch {round(row['epoch'])} of {recipe.epochs}: {_epoch_note(row)}, "
                f"{row['photos_per_second']:.0f} photos/s ({row['share_of_peak']:.0%} of peak)",
                highlight=False,
                soft_wrap=True,
            )
            done, timed, since = [], 0, time.perf_counter()

        # ------------------------------------------------------------ the end
        settle(0)
        save()
        if step >= total:
            test = dataset.load(splits["test"], tree, recipe, begun.sources, limit)
            measured = {
                name: _measured(tree, *outputs_of(examples), examples)
                for name, examples in (("validation", validation), ("test", test))
                if len(examples)
            }
            if devices.is_first():
                (out / "measured.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return step >= total


def _steps(begun: run_folder.Run) -> tuple[int, int]:
    """Return how many steps an epoch has, and how many the whole training."""
    per_epoch = begun.recipe.steps_per_epoch or begun.photos["train"] // begun.recipe.batch_size
    return per_epoch, per_epoch * begun.recipe.epochs


def _open_log(path: Path, step: int) -> TextIO:
    """Open the log to append to it, without the lines of what came after `step`, which a kill may have left there."""
    if not devices.is_first():
        return Path(os.devnull).open("w")
    kept = [json.dumps(row) + "\n" for row in _lines(path) if row["step"] <= step]
    temporary = path.with_name(f".log.{os.getpid()}")
    temporary.write_text("".join(kept), encoding="utf-8")
    temporary.rename(path)
    return path.open("a", encoding="utf-8")


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; none if it is not there yet."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):  # a line that was cut short
            rows.append(json.loads(line))
    return rows


def _describe(begun: run_folder.Run, console: Console) -> None:
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
    return f"loss {row['loss']:.3f}, validation {scores or '-'}"


def _right_constructor(tree: LabelTree, outputs: Mapping[str, jax.Array], masks: jax.Array) -> jax.Array:
    """Return for each photo whether the constructor head names the constructor of its label: bool [n]."""
    sizes = [len(tree.leaves[name]) for name in tree.constructors]
    ends = np.cumsum(sizes)
    truth = jnp.stack([masks[:, end - n : end].any(axis=1) for n, end in zip(sizes, ends, strict=True)], axis=1)
    return jnp.argmax(outputs[CONSTRUCTOR_HEAD], axis=1) == jnp.argmax(truth, axis=1)


def _accuracies(tree: LabelTree, outputs: Mapping[str, Any], examples: Examples) -> dict[str, float]:
    """Return the accuracies of `outputs` by "source/name", "all" for all sources; nothing is calibrated yet."""
    return {
        f"{metric['source'] or 'all'}/{metric['name']}": metric["value"] for metric in _metrics(tree, outputs, examples)
    }


def _loss(tree: LabelTree, outputs: Mapping[str, Any], examples: Examples) -> float:
    targets = jnp.asarray(examples.masks), jnp.asarray(examples.constructor_weights)
    return float(node_loss(tree, outputs, *targets).mean())


def _metrics(tree: LabelTree, outputs: Mapping[str, Any], examples: Examples) -> list[dict[str, Any]]:
    calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
    found = measure(tree, calibration, outputs, examples.labels, examples.sources)
    # With all thresholds at 0, nothing that depends on them says anything.
    return [asdict(metric) for metric in found if "accuracy" in metric.name and metric.name != "sure_accuracy"]


def _measured(
    tree: LabelTree, outputs: Mapping[str, Any], control: Mapping[str, Any], examples: Examples
) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of the chain and, beside it, of the flat softmax."""
    return {
        "chain": _metrics(tree, outputs, examples),
        "control": _metrics(tree, control, examples) if control else [],
    }


def _diverged(
    step: int, index: Sequence[int], losses: Sequence[float], training: Examples, checkpoints: Any, recipe: Recipe
) -> str:
    """Say that `step` gave no number, at which photos, and what to do."""
    ids = [training.photo_ids[int(one)] for one in index]
    bad = [name for name, loss in zip(ids, losses, strict=True) if not np.isfinite(loss)] or ids
    shown = ", ".join(bad[:8]) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
    latest = checkpoints.latest_step()
    kept = f"The last good checkpoint is of step {latest}" if latest else "There is no checkpoint yet"
    return (
        f"The loss, its gradient or a weight is no number any more at step {step}"
        f"{f', at the photos {shown}' if shown else ''}: training has diverged. {kept}. Train into another folder with "
        f"a lower learning rate than {recipe.learning_rate:g}: --set learning_rate=..."
    )


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold the run folder `out` for this process alone. Raises TrainingError if another one trains there."""
    with (out / ".run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(
                f"Another training is writing to {out}. Wait for it or stop it, or name another folder with --out."
            ) from error
        yield


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),  # so that the rest fits into 80 columns
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
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
