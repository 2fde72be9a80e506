"""Run folder: what one training writes and export reads.

run.json            what is trained: recipe, label tree, number of photos per split, label fallbacks
split.csv           every photo that is used: its split, label, source, airline and the hash of its file
heldout.csv         the test split only, with absolute paths: for `planespotter classify --ground-truth`
dataset/            the photos, as TensorFlow Datasets array_record files
frozen_features/    features of frozen layers, if the recipe keeps them
checkpoints/        network, optimizer state and position in the data, by step
log.jsonl           one line per epoch
steps.jsonl         one line per step
native-N.log        what the native code of process N of several printed, if it failed
final_metrics.json  written when training is complete: metrics on validation and test photos of the hierarchical heads
                    and of the flat baseline head, as {split: {"hierarchical": [...], "flat": [...]}}
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from planespotter_models import LabelTree
from planespotter_training.atomic_write import write_text
from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe

LOG = "log.jsonl"
FINAL_METRICS = "final_metrics.json"


@dataclass(frozen=True)
class Run:
    """The content of run.json."""

    recipe_name: str
    recipe: Recipe
    catalog: str
    catalog_sha256: str
    """Hash of catalog.csv when the run was created; the catalog may not change during training."""
    constructors: list[str]
    tree: LabelTree
    photos: dict[str, int]
    """Number of photos per split."""
    sources: dict[str, dict[str, int]]
    """Number of training photos of each constructor, by source."""
    notes: list[str]
    """What a reader of the results must know: label fallbacks, skipped photos."""
    initial_weights: str = ""
    """Origin of the trunk's initial weights; "" for random ones."""
    teacher: str = ""
    """Name, version and hash of the bundle that it was distilled from; "" for none."""
    held_out: dict[str, list[str]] = field(default_factory=dict)
    """Sources and airlines that are held out of training: "sources" and "airlines" to their names."""
    train_only: list[str] = field(default_factory=list)
    """Sources whose photos are used for training only."""


def write(run: Run, folder: Path) -> None:
    """Write run.json atomically."""
    content = {**asdict(run), "tree": run.tree.branches}
    write_text(folder / "run.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read(folder: Path) -> Run:
    """Read run.json.

    Raises:
        TrainingError: `folder` is not a run, or run.json is damaged.
    """
    path = folder / "run.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe(**content["recipe"])
        tree = LabelTree(content["tree"], recipe.other_output)
        return Run(**{**content, "recipe": recipe, "tree": tree})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(
            f"There is no run at {folder}: it has no run.json. `planespotter train CATALOG --out {folder}` creates one."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged or was written by another version of planespotter. Train again into another folder."
        ) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of log.jsonl or steps.jsonl, without one that a kill truncated; none if there is no file."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def read_final_metrics(folder: Path) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return the final metrics of a run on all sources together: {split: {heads: {name: metric}}}.

    {} while training is not complete.
    """
    path = folder / FINAL_METRICS
    final = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        split: {
            heads: {metric["name"]: metric for metric in metrics if not metric["source"]}
            for heads, metrics in by_heads.items()
        }
        for split, by_heads in final.items()
    }
