"""Does continuing from a bundle help? Paired comparison of two networks, and the types that a run keeps."""

import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from planespotter_models import Label, LabelTree
from planespotter_training.data.build_label_tree import extend_label_tree
from planespotter_training.loop.improvement import FILE, Improvement, compare, show_improvement
from planespotter_training.network.pretrained import InitialWeights, _extend_top

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": []}}, other=True)


@pytest.mark.parametrize(
    ("gained", "lost", "verdict"),
    [
        (20, 2, "It helped."),
        (2, 20, "It made the network worse."),
        (4, 2, "These photos are too few to say whether it helped."),
        (0, 0, "These photos are too few to say whether it helped."),
    ],
)
def test_the_verdict_follows_from_the_photos_that_only_one_network_predicts_correctly(
    gained: int, lost: int, verdict: str
) -> None:
    assert Improvement(60, 30 + lost, 30 + gained, gained, lost).verdict == verdict


def test_the_interval_of_a_difference_is_that_of_agresti_and_min() -> None:
    low, high = Improvement(100, 60, 70, 15, 5).interval
    assert (round(low, 3), round(high, 3)) == (0.012, 0.184)


def outputs(tree: LabelTree, labels: list[Label]) -> dict[str, Any]:
    """Return log-probabilities that predict these labels."""
    result = {head: np.full((len(labels), size), -5.0, np.float32) for head, size in tree.heads.items()}
    for row, label in enumerate(labels):
        result["constructor"][row, tree.constructors.index(label.constructor)] = 0
        result[label.constructor][row, tree.leaves[label.constructor].index(label)] = 0
    return result


def test_both_networks_are_compared_on_the_same_photos_at_each_level(tmp_path: Any) -> None:
    neo, old, big = Label("Airbus", "A320", "A320neo"), Label("Airbus", "A320", "A320-200"), Label("Airbus", "A380")
    labels = [neo, old, big, Label("Airbus", "A320"), Label("Embraer")]
    initial, trained = [old, old, neo, neo, neo], [neo, old, big, Label("Boeing", "737"), neo]

    class Split(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.labels)

    def predict(state: Any, _: Any) -> Any:
        return outputs(TREE, state), {}

    splits: list[Any] = [Split(labels=labels)]
    result = compare(TREE, predict, (initial, trained), splits)
    assert result["path"] == Improvement(3, 1, 3, 2, 0)
    assert result["constructor"] == Improvement(4, 4, 3, 0, 1)
    console = Console(file=io.StringIO(), width=300)
    job: Any = SimpleNamespace(out=tmp_path, initial=None)
    show_improvement(job, TREE, predict, (initial, trained), splits, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "path accuracy on 3 photos that were not trained on: 33.3% before, 100.0% after" in text
    assert json.loads((tmp_path / FILE).read_text())["path"]["gained"] == 2


def test_a_kept_label_tree_gets_further_types_and_keeps_its_order() -> None:
    further = LabelTree({"Airbus": {"A380": ["A380-800"], "A320": ["A320-100"]}, "Boeing": {"787": ["787-8", "787-9"]}})
    assert extend_label_tree(TREE, further) == LabelTree(
        {
            "Airbus": {"A320": ["A320-200", "A320neo", "A320-100"], "A380": []},
            "Boeing": {"737": [], "787": ["787-8", "787-9"]},
        },
        other=True,
    )


def test_a_further_type_starts_as_the_mean_of_its_family_and_the_others_continue() -> None:
    tree = extend_label_tree(TREE, LabelTree({"Airbus": {"A320": ["A320-100"], "A330": []}, "Boeing": {}}))
    former = {"heads.Airbus.kernel": np.array([[1.0, 3.0, 8.0]]), "heads.constructor.bias": np.array([1.0, 2.0, 3.0])}
    top = {"heads.Airbus.kernel": np.zeros((1, 5)), "heads.constructor.bias": np.zeros(3)}
    _extend_top(InitialWeights("a test", {}, TREE, former), TREE, top, tree)
    assert top["heads.Airbus.kernel"].tolist() == [[1.0, 3.0, 2.0, 8.0, 4.0]]
    assert top["heads.constructor.bias"].tolist() == [1.0, 2.0, 3.0]
