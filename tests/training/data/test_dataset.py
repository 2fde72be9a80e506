"""Dataset and sampler: from catalog rows to examples and balanced batches."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from planespotter_models import Label, LabelTree
from planespotter_scraping import catalog
from planespotter_training import recipes
from planespotter_training.data import dataset
from planespotter_training.data.sampler import batches
from planespotter_training.data.split import assign
from planespotter_training.errors import TrainingError

RECIPE = recipes.load("small", ["height=32", "width=48"])
TREE = LabelTree({"Airbus": {"A320": [], "A380": []}, "Boeing": {"737": [], "747": []}})


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]):  # type: ignore[no-untyped-def]
    folder = paint_catalog(tmp_path_factory.mktemp("data") / "catalog", 80)
    (folder / "images" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    photos = catalog.read(folder)
    photos["split"] = assign(photos)
    photos.loc[5, "split"] = "train"
    skipped: list[tuple[str, Exception]] = []
    used = dataset.readable(photos, folder, lambda *what: skipped.append(what))
    dataset.prepare(used, folder, folder.parent / "out")
    return photos, dataset.reopen(folder.parent / "out"), skipped


def test_every_photo_is_in_the_dataset_once_in_its_split(splits) -> None:  # type: ignore[no-untyped-def]
    photos, dataset_splits, _ = splits
    for split, source in dataset_splits.items():
        expected = set(photos[photos["split"] == split]["photo_id"]) - {"p5"}
        assert Counter(row["photo_id"].decode() for row in source) == Counter(expected)


def test_a_photo_that_cannot_be_decoded_is_reported_and_skipped(splits) -> None:  # type: ignore[no-untyped-def]
    (file, error), *rest = splits[2]
    assert (file, error.reason, rest) == ("images/5.png", "PHOTO_UNDECODABLE", [])


def test_examples_have_pixels_and_a_mask_of_the_leaves_below_their_label(splits) -> None:  # type: ignore[no-untyped-def]
    examples = dataset.load(splits[1]["train"], TREE, RECIPE, {})
    assert examples.pixels(0).shape == (32, 48, 3)
    leaves = [leaf for leaves in TREE.leaves.values() for leaf in leaves]
    for label, mask in zip(examples.labels, examples.masks, strict=True):
        assert [leaf for leaf, below in zip(leaves, mask, strict=True) if below] == [TREE.clip(label)]


def test_constructors_have_the_same_total_weight_within_a_source() -> None:
    labels = [Label("Airbus")] * 6 + [Label("Boeing")] * 3
    weights = dataset.constructor_weights(["x"] * 9, labels, {"x": {"Airbus": 6, "Boeing": 3}}, TREE, 0)
    assert weights[:6].sum() == pytest.approx(weights[6:].sum())
    assert weights.mean() == pytest.approx(1)


def test_a_photo_of_a_single_constructor_source_has_the_weight_of_the_recipe() -> None:
    labels = [Label("Airbus"), Label("Boeing"), Label("Boeing"), Label("ATR")]
    counts = {"x": {"Airbus": 1, "Boeing": 1}, "only Boeing": {"Boeing": 1}}
    weights = dataset.constructor_weights(["x", "x", "only Boeing", "only Boeing"], labels, counts, TREE, 0.25)
    assert weights.tolist() == [1, 1, 0.25, 0]


def test_everything_outside_the_tree_is_one_class_of_its_source_if_that_is_an_output() -> None:
    labels = [Label("Airbus")] * 2 + [Label("ATR"), Label("Military")] + [Label("No aircraft")]
    sources = ["mixed"] * 4 + ["landscapes"]
    counts = {"mixed": {"Airbus": 2, "ATR": 1, "Military": 1}, "landscapes": {"No aircraft": 1}}
    with_other = LabelTree(TREE.branches, other=True)
    assert dataset.constructor_weights(sources, labels, counts, with_other, 0.25).tolist() == [1, 1, 1, 1, 1]
    assert dataset.constructor_weights(sources, labels, counts, TREE, 0.25).tolist() == [1, 1, 0, 0, 0]


def test_the_weight_of_a_single_rare_photo_is_capped() -> None:
    labels = [Label("Airbus")] * 999 + [Label("Boeing")]
    weights = dataset.constructor_weights(["x"] * 1000, labels, {"x": {"Airbus": 999, "Boeing": 1}}, TREE, 0)
    assert weights.max() == dataset.MAX_WEIGHT


@pytest.mark.parametrize(
    ("present", "missing"), [(["test"], "train"), (["train", "test"], "validation"), ([], "train")]
)
def test_a_catalog_with_an_empty_split_is_rejected(tmp_path: Path, present: list[str], missing: str) -> None:
    with pytest.raises(TrainingError, match=f"The {missing} split has none of the"):
        dataset.prepare(pd.DataFrame({"split": present}), tmp_path, tmp_path / "out")


def test_the_position_of_the_sampler_can_be_saved_and_restored(splits) -> None:  # type: ignore[no-untyped-def]
    examples = dataset.load(splits[1]["train"], TREE, RECIPE, {})

    def start() -> Any:
        return batches(examples, batch_size=8, source_balance=0.5, seed=1)

    first = start()
    for _ in range(5):
        next(first)
    state = first.get_state()
    expected = [next(first)["index"].tolist() for _ in range(4)]
    second = start()
    second.set_state(state)
    assert [next(second)["index"].tolist() for _ in range(4)] == expected


@pytest.mark.slow
@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.5), (1.0, 0.9), (0.5, 0.75)])
def test_sources_are_sampled_by_their_balance(balance: float, share: float) -> None:
    n = 200
    examples = dataset.Examples(
        photo_ids=[""] * n,
        sources=["large" if i < 180 else "small" for i in range(n)],
        labels=[Label()] * n,
        masks=np.zeros((n, 4), bool),
        constructor_weights=np.zeros(n, np.float32),
        pixels=lambda _: np.zeros((1, 1, 3), np.uint8),
        cache=None,
    )
    drawn = batches(examples, batch_size=400, source_balance=balance, seed=0)
    assert np.mean(next(drawn)["index"] < 180) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.5), (1.0, 0.9), (0.5, 0.75)])
def test_types_are_sampled_by_their_balance_within_a_source(balance: float, share: float) -> None:
    n = 400
    examples = dataset.Examples(
        photo_ids=[""] * n,
        sources=["one" if i < 200 else "other" for i in range(n)],
        labels=[Label("Boeing", "737" if i % 200 < 180 else "747") for i in range(n)],
        masks=np.zeros((n, 4), bool),
        constructor_weights=np.zeros(n, np.float32),
        pixels=lambda _: np.zeros((1, 1, 3), np.uint8),
        cache=None,
    )
    drawn = next(batches(examples, batch_size=800, source_balance=1, type_balance=balance, seed=0))["index"]
    assert np.mean(drawn % 200 < 180) == pytest.approx(share, abs=0.02)
    assert np.mean(drawn < 200) == pytest.approx(0.5, abs=0.02)


def test_the_sampler_prefetches_only_a_few_batches() -> None:
    read = []

    def pixels(index: int) -> np.ndarray:
        read.append(index)
        return np.zeros((1, 1, 3), np.uint8)

    n = 5000
    texts, masks, weights = [""] * n, np.zeros((n, 4), bool), np.zeros(n, np.float32)
    examples = dataset.Examples(texts, texts, [Label()] * n, masks, weights, pixels, None)
    next(batches(examples, batch_size=10, source_balance=1, seed=0))
    assert 10 <= len(read) <= 200
