"""Label tree: leaves, heads, clipping a label to the tree, and invalid trees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import Label, LabelTree

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-800"]}, "ATR": {}})

names = st.text("abcdefgh", min_size=1, max_size=4)
trees = st.dictionaries(
    names, st.dictionaries(names, st.lists(names, unique=True, max_size=4), max_size=4), min_size=1, max_size=4
).map(LabelTree)


def test_leaf_is_a_node_without_children_at_any_level() -> None:
    assert TREE.leaves == {
        "Airbus": (
            Label("Airbus", "A320", "A320-200"),
            Label("Airbus", "A320", "A320neo"),
            Label("Airbus", "A380"),
        ),
        "Boeing": (Label("Boeing", "737", "737-800"),),
        "ATR": (Label("ATR"),),
    }


def test_tree_has_a_constructor_head_and_one_head_per_constructor() -> None:
    assert TREE.heads == {"constructor": 3, "Airbus": 3, "Boeing": 1, "ATR": 1}


@pytest.mark.parametrize(
    ("label", "node"),
    [
        (Label("Airbus", "A320", "A320neo"), Label("Airbus", "A320", "A320neo")),
        (Label("Airbus", "A320", "A320-100"), Label("Airbus", "A320")),
        (Label("Airbus", "A330", "A330-300"), Label("Airbus")),
        (Label("ATR", "72", "72-500"), Label("ATR")),
        (Label("Fokker", "100", ""), Label()),
        (Label(), Label()),
    ],
)
def test_label_is_clipped_to_the_deepest_node_in_the_tree(label: Label, node: Label) -> None:
    assert TREE.clip(label) == node


@pytest.mark.parametrize("branches", [{}, {"constructor": {}}, {"": {}}, {"A": {"": []}}, {"A": {"x": ["m", "m"]}}])
def test_tree_with_an_empty_duplicate_or_reserved_name_is_invalid(branches: dict[str, dict[str, list[str]]]) -> None:
    with pytest.raises(ValueError, match=r"label tree|is reserved"):
        LabelTree(branches)


@given(trees)
def test_leaves_below_the_children_of_a_node_partition_those_below_the_node(tree: LabelTree) -> None:
    for constructor, families in tree.branches.items():
        all_classes = tree.leaves_below(Label(constructor))
        assert all_classes == tuple(range(tree.heads[constructor]))
        if families:
            below = [index for family in families for index in tree.leaves_below(Label(constructor, family))]
            assert sorted(below) == list(all_classes)
        for family, models in families.items():
            below = [index for model in models for index in tree.leaves_below(Label(constructor, family, model))]
            assert sorted(below) == sorted(tree.leaves_below(Label(constructor, family)) if models else [])


@given(trees, names, names, names)
def test_clipping_is_idempotent(tree: LabelTree, constructor: str, family: str, model: str) -> None:
    node = tree.clip(Label(constructor, family, model))
    assert tree.clip(node) == node


def test_networks_have_the_same_outputs_only_with_the_same_types_in_the_same_order() -> None:
    tree = LabelTree({"Airbus": {"A320": []}, "Boeing": {"737": [], "747": []}})
    assert tree.same_outputs(LabelTree({"Airbus": {"A320": ()}, "Boeing": {"737": (), "747": ()}}))
    assert not tree.same_outputs(LabelTree({"Airbus": {"A320": []}, "Boeing": {"747": [], "737": []}}))
    assert not tree.same_outputs(LabelTree(tree.branches, other=True))


def test_the_constructor_head_has_one_more_class_for_everything_outside_the_tree() -> None:
    branches: dict[str, dict[str, list[str]]] = {"Airbus": {"A320": []}, "Boeing": {}}
    assert LabelTree(branches).heads == {"constructor": 2, "Airbus": 1, "Boeing": 1}
    assert LabelTree(branches, other=True).heads == {"constructor": 3, "Airbus": 1, "Boeing": 1}
