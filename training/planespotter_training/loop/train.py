"""Train a network on a catalog: the loop, to be read from top to bottom."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax.numpy as jnp
from rich.console import Console

from planespotter_training import run_folder
from planespotter_training.atomic_write import write_text
from planespotter_training.data import dataset
from planespotter_training.data.dataset import Examples
from planespotter_training.data.sampler import batches
from planespotter_training.loop import devices, placement, validate
from planespotter_training.loop.frozen_part import open_frozen_part
from planespotter_training.loop.improvement import show_improvement
from planespotter_training.loop.job import TrainJob
from planespotter_training.loop.optimizer import Plan, plan
from planespotter_training.loop.prepare_run import locked_run
from planespotter_training.loop.signals import stop_on_signal
from planespotter_training.loop.teacher import add_soft_labels
from planespotter_training.loop.train_log import TrainLog, describe
from planespotter_training.loop.watchdog import Watchdog
from planespotter_training.network import checkpoint, pretrained
from planespotter_training.network.model import Classifier, flops
from planespotter_training.phases import phase
from planespotter_training.recipes.config import Recipe

SAVE_SECONDS = 600
"""Maximum time between checkpoints within an epoch; there is also one after each epoch."""


def train(job: TrainJob, console: Console) -> bool:
    """Train, or resume where an earlier call stopped.

    SIGINT or SIGTERM saves a checkpoint and ends training early. On the same hardware, the same job gives the same
    weights bit for bit, however often it is stopped and resumed.

    Returns:
        Whether training is complete.

    Raises:
        TrainingError: The run folder, the photos or the recipe do not fit, or training has diverged.
        CatalogError: The catalog cannot be read, or an image is missing or altered.
    """
    called, recipe = time.perf_counter(), job.recipe
    with ExitStack() as stack:
        # ------------------------------------------------------------ devices
        devices.initialize(job.timeouts)
        layout = devices.Layout()
        devices.check_batch_size(recipe.batch_size, layout)
        console = console if devices.is_first() else Console(quiet=True)

        # ------------------------------------------------------------ run folder
        if devices.is_first():
            stack.enter_context(locked_run(job, console))
        devices.wait_for_all("the run exists")
        run = run_folder.read(job.out)
        if job.shared_dataset is None:
            describe(run, console)
        length = plan(recipe, run.photos["train"])
        checkpoints = stack.enter_context(checkpoint.manager(job.out))
        if checkpoints.latest_step() == length.total and (job.out / run_folder.FINAL_METRICS).is_file():
            return True

        # ------------------------------------------------------------ photos
        with phase(console, "Decoding the photos"):
            splits = dataset.reopen(job.out / "dataset")
            limit = devices.default_cache_bytes() if job.cache_bytes is None else job.cache_bytes
            load = partial(dataset.load, tree=run.tree, recipe=recipe, counts=run.sources, cache_bytes=limit)
            training, validation = load(splits["train"]), load(splits["validation"])
        training = add_soft_labels(job, run, training, splits["train"], console)
        # A small training split is cached on the device, and each step selects its batch there; a large one streams.
        on_device = training.cache is not None and not recipe.frozen_views
        cache = layout.put(training.cache, layout.everywhere) if on_device else None
        sampler = _sampler(training, recipe, indices_only=on_device or bool(recipe.frozen_views))

        # ------------------------------------------------------------ network, optimizer, compiled steps
        dtype = devices.compute_type(recipe.precision)
        network = _initial_network(job, run, dtype, console)
        initial = partial(_initial_state, job, run, dtype, length, layout)
        frozen = stack.enter_context(open_frozen_part(network, job, training)) if recipe.frozen_views else None
        constants, state = placement.build(network, recipe, run.tree, length, layout, frozen.scale if frozen else None)
        train_step = placement.compile_train_step(constants, layout)
        watchdog = Watchdog(job.timeouts.stall_factor, job.timeouts.heartbeat, active=not devices.is_alone())
        predict = validate.compile_predict(constants, layout, frozen, watchdog.beat)

        # ------------------------------------------------------------ resume
        state, done = _resume(checkpoints, state, sampler, length.total, console)

        # ------------------------------------------------------------ the loop
        peak_rate = devices.measure_peak(dtype) * layout.devices / max(_flops(network, recipe, bool(frozen)), 1)
        latest = checkpoints.latest_step
        log = stack.enter_context(TrainLog(job, length, done, training.photo_ids, peak_rate, console, called, latest))
        stop, saved = stack.enter_context(stop_on_signal()), time.perf_counter()
        stack.enter_context(watchdog)
        while done < length.total:
            stopping, due = devices.agree(stop.is_set(), time.perf_counter() - saved > SAVE_SECONDS)
            if stopping:
                break
            if due:
                with watchdog.phase():
                    log.settle()
                    checkpoint.save(checkpoints, done, state, sampler)
                saved = time.perf_counter()
            drawn = next(sampler)
            batch = frozen.training_batch(drawn, training, done) if frozen else drawn
            state, results = train_step(state, cache, layout.put_batch(batch), jnp.int32(done))
            done += 1
            log.add(done, drawn["index"], results)
            watchdog.step()
            if done % length.steps_per_epoch and done < length.total:
                continue

            # -------------------------------------------------------- end of an epoch
            with watchdog.phase():
                log.settle()
                outputs, flat = predict(state, validation)
                log.check_outputs(done, outputs)
                log.end_epoch(done, *validate.scores(run.tree, outputs, flat, validation))
                checkpoint.save(checkpoints, done, state, sampler)
            saved = time.perf_counter()
            log.restart_clock()

        # ------------------------------------------------------------ the end
        stack.enter_context(watchdog.phase())
        log.settle()
        checkpoint.save(checkpoints, done, state, sampler)
        if done == length.total:
            predict = validate.compile_predict(constants, layout, on_batch=watchdog.beat)
            _measure_at_the_end(job, run, predict, (initial, state), validation, load(splits["test"]), console)
    return done == length.total


def _initial_network(job: TrainJob, run: run_folder.Run, dtype: Any, console: Console) -> Classifier:
    """Return the network with its initial weights, prepared for this device."""
    network = checkpoint.build(job.recipe, run.tree, dtype)
    network.trunk.winograd = devices.prefers_winograd(dtype)
    if job.initial is not None:
        pretrained.apply(job.initial, network, run.tree, console)
    return network


def _initial_state(job: TrainJob, run: run_folder.Run, dtype: Any, length: Plan, layout: devices.Layout) -> Any:
    """Return the state before the first step; the train step has overwritten that of this run."""
    return placement.build(
        _initial_network(job, run, dtype, Console(quiet=True)), job.recipe, run.tree, length, layout
    )[1]


def _flops(network: Classifier, recipe: Recipe, frozen_kept: bool) -> float:
    """Return the floating-point operations of training on one photo."""
    return flops(network, recipe.height, recipe.width, frozen_kept=frozen_kept)[1]


def _resume(checkpoints: Any, state: Any, sampler: Any, total: int, console: Console) -> tuple[Any, int]:
    """Restore the latest checkpoint, if any; return the state and the number of completed steps."""
    done = checkpoints.latest_step()
    if done is None:
        return state, 0
    state, position = checkpoint.restore(checkpoints, state)
    sampler.set_state(position)
    console.print(f"Resuming at step {done} of {total}.", highlight=False, soft_wrap=True)
    return state, done


def _measure_at_the_end(
    job: TrainJob,
    run: run_folder.Run,
    predict: validate.Predict,
    states: tuple[Callable[[], Any], Any],
    validation: Examples,
    test: Examples,
    console: Console,
) -> None:
    with phase(console, "Measuring on the validation and test photos"):
        initial, state = states
        final = validate.final_metrics(run.tree, predict, state, {"validation": validation, "test": test})
    if devices.is_first():
        write_text(job.out / run_folder.FINAL_METRICS, json.dumps(final, indent=2) + "\n")
    if job.recipe.keep_types:
        show_improvement(job, run.tree, predict, (initial(), state), (validation, test), console)


def _sampler(training: Examples, recipe: Recipe, *, indices_only: bool) -> Any:
    """Return the batches of a training, with the photos that this process decodes unless with indices only."""
    return batches(
        training,
        batch_size=recipe.batch_size,
        source_balance=recipe.source_balance,
        type_balance=recipe.type_balance,
        seed=recipe.seed,
        own=None if indices_only else devices.own_part(recipe.batch_size),
    )
