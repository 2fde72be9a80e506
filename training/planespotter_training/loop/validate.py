"""Validation during training: predict a split with the current network, and measure both kinds of heads."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from planespotter_models import Calibration, LabelTree, Thresholds
from planespotter_training.data.dataset import Examples
from planespotter_training.evaluation.metrics import measure
from planespotter_training.evaluation.predict import BATCH, predict
from planespotter_training.loop.devices import Layout
from planespotter_training.loop.frozen_part import FrozenPart
from planespotter_training.loop.step import FLAT, Constants, State, eval_step
from planespotter_training.network.loss import node_loss

Outputs = dict[str, Any]
Predict = Callable[[State, Examples], tuple[Outputs, Outputs]]


def compile_predict(
    constants: Constants,
    layout: Layout,
    frozen: FrozenPart | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Predict:
    """Return a function (state, examples) that predicts with the network to be used, the average if there is one.

    With `frozen`, it predicts from the kept features of the frozen layers, within the precision that is kept. It calls
    `on_batch` before each batch.

    It returns log-probabilities [n, classes] per head: of the hierarchical heads, and of the flat baseline, {} if there
    is none.
    """
    compiled = jax.jit(partial(eval_step, constants, frozen=frozen is not None), out_shardings=layout.everywhere)
    sharding = layout.everywhere if BATCH % layout.devices else layout.shared

    def predict_both(state: State, examples: Examples) -> tuple[Outputs, Outputs]:
        network = state.get("average", state)

        def step(photos: Any) -> Any:
            on_batch()
            return compiled(network["weights"], network["statistics"], layout.put(photos, sharding))

        outputs = predict(step, examples, partial(frozen.plain, examples) if frozen else None)
        flat = {head.removeprefix(FLAT): part for head, part in outputs.items() if head.startswith(FLAT)}
        return {head: part for head, part in outputs.items() if not head.startswith(FLAT)}, flat

    return predict_both


def scores(
    tree: LabelTree, outputs: Outputs, flat: Outputs, examples: Examples
) -> tuple[dict[str, float], dict[str, float]]:
    """Score the outputs of both kinds of heads.

    Returns:
        The uncalibrated accuracies of the hierarchical heads by "source/name", with "all" for all sources, and their
        mean "loss" without label smoothing; and the accuracies of the flat baseline, {} if there is none.
    """
    targets = jnp.asarray(examples.masks), jnp.asarray(examples.constructor_weights)
    loss = float(node_loss(tree, outputs, *targets).mean())
    hierarchical, baseline = (
        {f"{metric['source'] or 'all'}/{metric['name']}": metric["value"] for metric in _metrics(tree, part, examples)}
        for part in (outputs, flat)
    )
    return {"loss": loss, **hierarchical}, baseline


def final_metrics(
    tree: LabelTree, predict_both: Predict, state: State, splits: Mapping[str, Examples]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the uncalibrated accuracies of both kinds of heads on each split that has photos."""
    results = {}
    for name, examples in splits.items():
        if len(examples):
            outputs, flat = predict_both(state, examples)
            results[name] = {
                "hierarchical": _metrics(tree, outputs, examples),
                "flat": _metrics(tree, flat, examples),
            }
    return results


def _metrics(tree: LabelTree, outputs: Mapping[str, Any], examples: Examples) -> list[dict[str, Any]]:
    if not outputs:
        return []
    calibration = Calibration(dict.fromkeys(tree.heads, 1.0), Thresholds(0, 0, 0))
    metrics = measure(tree, calibration, outputs, examples.labels, examples.sources)
    # With all thresholds at 0, metrics that depend on them mean nothing.
    return [asdict(metric) for metric in metrics if "accuracy" in metric.name and metric.name != "confident_accuracy"]
