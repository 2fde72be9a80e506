"""What a fleet and several photos of one airframe add to a prediction: path accuracy on the held-out photos of a run.

Fleets are mixes of types of the training photos of an airline. As a wrong fleet, each photo gets that of another
airline, drawn at random, DRAWS times. Groups are the photos of one registration.

    python -m scripts.bench.evidence runs/five photos/
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import planespotter_models
from planespotter_models import Bundle, Label

ODDS = (1.5, 2.0, 3.0, 5.0, 20.0, 1000.0)
DRAWS = 10
BATCH = 32

Rows = Sequence[Mapping[str, str]]
Floats = NDArray[np.floating[Any]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.evidence", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("run", type=Path, help="run whose split is used")
    parser.add_argument("catalog", type=Path, help="folder of its catalog")
    parser.add_argument("--model", type=Path, help="bundle to measure (default: the installed one)")
    parser.add_argument("--split", default="test", choices=("test", "validation"), help="photos (default: test)")
    arguments = parser.parse_args()
    bundle = planespotter_models.read_bundle(arguments.model or _installed_model())
    with (arguments.run / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    leaves = {leaf: index for index, leaf in enumerate(bundle.tree.all_leaves)}
    typed = [row for row in rows if _label(row) in leaves]
    held_out = [row for row in typed if row["split"] == arguments.split and (row["airline"] or row["registration"])]
    table = _predict(bundle, [arguments.catalog / row["file"] for row in held_out])
    labels = np.array([leaves[_label(row)] for row in held_out])
    console = Console(highlight=False)
    training = [row for row in typed if row["split"] == "train"]
    console.print(_fleets(bundle, training, held_out, table, labels))
    console.print(_groups(bundle, held_out, table, labels))


def _installed_model() -> Path:
    return sorted(planespotter_models.FOLDER.glob("airliners/*/bundle.json"))[-1].parent


def _label(row: Mapping[str, str]) -> Label:
    return Label(row["constructor"], row["family"], row["model"])


def _predict(bundle: Bundle, photos: Sequence[Path]) -> Floats:
    """Return the probabilities [n, leaves] of photos."""
    engine = planespotter_models.load_engine(bundle, (BATCH,))
    parts = []
    for start in range(0, len(photos), BATCH):
        batch = photos[start : start + BATCH]
        pixels = [planespotter_models.decode_photo(path.read_bytes(), bundle.height, bundle.width) for path in batch]
        outputs = engine.run(np.stack(pixels))
        parts.append(planespotter_models.leaf_table(bundle.tree, bundle.calibration, outputs)[: len(batch)])
    return np.concatenate(parts)


def _accuracy(bundle: Bundle, table: Floats, labels: NDArray[np.intp]) -> float:
    decisions = planespotter_models.decide(bundle.tree, bundle.calibration, table)
    return float((decisions.leaves == labels).mean())


def _fleets(bundle: Bundle, training: Rows, held_out: Rows, table: Floats, labels: NDArray[np.intp]) -> Table:
    """Measure path accuracy with the fleet of the airline, and of another one."""
    fleets: dict[str, Counter[Label]] = defaultdict(Counter)
    for row in training:
        if airline := row["airline"].strip():
            fleets[airline][_label(row)] += 1
    chosen = [index for index, row in enumerate(held_out) if row["airline"].strip() in fleets]
    airlines, table, labels = [held_out[index]["airline"].strip() for index in chosen], table[chosen], labels[chosen]
    names = sorted(fleets)
    random = np.random.default_rng(0)
    wrong = [[random.choice([name for name in names if name != airline]) for airline in airlines] for _ in range(DRAWS)]
    drawn = Table("odds", "right fleet", "wrong fleet", title=f"{len(chosen)} photos, {len(set(airlines))} airlines")
    raw = _accuracy(bundle, table, labels)
    drawn.add_row("no prior", f"{raw:.1%}", f"{raw:.1%}")
    for odds in ODDS:
        priors = {
            name: planespotter_models.make_prior(bundle.tree, "fleet", fleets[name], odds)
            for name in {*airlines, *np.ravel(wrong).tolist()}
        }

        def accuracy(of: Sequence[str], priors: Any = priors) -> float:
            posterior = [priors[name].apply(row) for name, row in zip(of, table, strict=True)]
            return _accuracy(bundle, np.stack(posterior), labels)

        wrong_accuracy = float(np.mean([accuracy(of) for of in wrong]))
        drawn.add_row(f"{odds:g}", f"{accuracy(airlines):.1%}", f"{wrong_accuracy:.1%}")
    return drawn


def _groups(bundle: Bundle, held_out: Rows, table: Floats, labels: NDArray[np.intp]) -> Table:
    """Measure path accuracy of single photos and of airframes with several photos."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(held_out):
        if registration := row["registration"].strip():
            groups[registration].append(index)
    groups = {name: members for name, members in groups.items() if len(members) > 1}
    members = [index for group in groups.values() for index in group]
    combined = np.stack(
        [
            planespotter_models.combine_evidence(planespotter_models.log_evidence(table[group]).sum(axis=0), len(group))
            for group in groups.values()
            for _ in group
        ]
    )
    drawn = Table(
        "", "path accuracy", "confident", "then right", title=f"{len(members)} photos, {len(groups)} airframes"
    )
    for name, probabilities in (("single photos", table[members]), ("their groups", combined)):
        decisions = planespotter_models.decide(bundle.tree, bundle.calibration, probabilities)
        leaves = bundle.tree.all_leaves
        right = [
            leaves[leaf][:depth] == leaves[label][:depth]
            for leaf, depth, label in zip(decisions.leaves, decisions.depths, labels[members], strict=True)
            if depth
        ]
        accuracy = float((decisions.leaves == labels[members]).mean())
        drawn.add_row(name, f"{accuracy:.1%}", f"{len(right) / len(members):.1%}", f"{np.mean(right):.1%}")
    return drawn


if __name__ == "__main__":
    main()
