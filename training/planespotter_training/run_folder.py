"""A run: the folder that training writes and that export reads.

run.json       what was trained: recipe, label tree, how many photos, what fell back
split.csv      every photo that is used: which side it is on, its label, source, airline and the hash of its file
heldout.csv    the same for the test side only, with the files: made for `planespotter classify --ground-truth`
dataset/       the photos, as TensorFlow Datasets array_record files
checkpoints/   network, optimiser and position in the data, by step
log.jsonl      one line for each epoch
steps.jsonl    one line for each step
measured.json  when training is complete: metrics of the chain and of its control on validation and test photos
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from planespotter_models import LabelTree
from planespotter_training.errors import TrainingError
from planespotter_training.recipes.config import Recipe


@dataclass(frozen=True)
class Run:
    """What is in run.json."""

    recipe_name: str
    recipe: Recipe
    catalog: str
    catalog_sha256: str
    """Of catalog.csv when the run began: what is trained on may not change on the way."""
    constructors: list[str]
    tree: LabelTree
    photos: dict[str, int]
    """How many photos each split has."""
    sources: dict[str, dict[str, int]]
    """How many training photos each source has of each constructor."""
    notes: list[str]
    """What the reader of the results should know: what fell back, what was left out."""
    start: str = ""
    """Where the first weights of the trunk are from; "" if they were drawn at random."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Sources and airlines whose photos are all on the test side: "sources" and "airlines" to their names."""


def write(run: Run, folder: Path) -> None:
    """Write run.json, all at once or not at all."""
    content = {**asdict(run), "tree": run.tree.branches}
    temporary = folder / f".run.json.{os.getpid()}"
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(folder / "run.json")


def read(folder: Path) -> Run:
    """Read run.json. Raises TrainingError."""
    path = folder / "run.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Run(**{**content, "recipe": Recipe(**content["recipe"]), "tree": LabelTree(content["tree"])})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(
            f"There is no run at {folder}: it holds no run.json. `planespotter train CATALOG --out {folder}` makes one."
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged or was written by another version of planespotter. Train again into another folder."
        ) from error
