"""The label tree: which nodes there are, and where a label lies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import Label, LabelTree

TREE = LabelTree({"Airbus": {"A320": ["A320-200", "A320neo"], "A380": []}, "Boeing": {"737": ["737-800"]}, "ATR": {}})

names = st.text("abcdefgh", min_size=1, max_size=4)
trees = st.dictionaries(
    names, st.dictionaries(names, st.lists(names, unique=True, max_size=4), max_size=4), min_size=1, max_size=4
).map(LabelTree)


def test_a_leaf_is_a_model_or_a_family_or_a_constructor_without_anything_below() -> None:
    assert TREE.leaves == {
        "Airbus": (
            Label("Airbus", "A320", "A320-200"),
            Label("Airbus", "A320", "A320neo"),
            Label("Airbus", "A380"),
        ),
        "Boeing": (Label("Boeing", "737", "737-800"),),
        "ATR": (Label("ATR"),),
    }


def test_there_is_one_head_for_the_constructor_and_one_for_each_constructor() -> None:
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
def test_a_label_is_clipped_to_the_deepest_node_that_the_tree_has(label: Label, node: Label) -> None:
    assert TREE.clip(label) == node


@pytest.mark.parametrize("branches", [{}, {"constructor": {}}, {"": {}}, {"A": {"": []}}, {"A": {"x": ["m", "m"]}}])
def test_a_tree_with_a_missing_doubled_or_reserved_name_is_refused(branches: dict[str, dict[str, list[str]]]) -> None:
    with pytest.raises(ValueError, match=r"label tree|called that"):
        LabelTree(branches)


@given(trees)
def test_the_leaves_below_the_children_of_a_node_are_those_below_the_node_each_once(tree: LabelTree) -> None:
    for constructor, families in tree.branches.items():
        everything = tree.leaves_below(Label(constructor))
        assert everything == tuple(range(tree.heads[constructor]))
        if families:
            below = [index for family in families for index in tree.leaves_below(Label(constructor, family))]
            assert sorted(below) == list(everything)
        for family, models in families.items():
            below = [index for model in models for index in tree.leaves_below(Label(constructor, family, model))]
            assert sorted(below) == sorted(tree.leaves_below(Label(constructor, family)) if models else [])


@given(trees, names, names, names)
def test_clipping_again_changes_nothing(tree: LabelTree, constructor: str, family: str, model: str) -> None:
    node = tree.clip(Label(constructor, family, model))
    assert tree.clip(node) == node
