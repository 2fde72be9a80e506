"""Label tree: built from training labels; rare families and models fall back to their parents."""

from hypothesis import given
from hypothesis import strategies as st

from planespotter_models import Label
from planespotter_training.data.build_label_tree import build_label_tree

BOTH = ("Airbus", "Boeing")


def photos(**counts: int) -> list[Label]:
    """Return labels from keywords such as Boeing__737__737_800=3."""
    return [
        Label(*(*(part.replace("_", "-") for part in name.split("__")), "", "")[:3])
        for name, count in counts.items()
        for _ in range(count)
    ]


def test_models_and_families_with_enough_photos_become_leaves() -> None:
    labels = photos(Airbus__A320=20, Boeing__737__737_700=20, Boeing__737__737_800=20, Boeing__787=19, Boeing__737=5)
    tree, notes = build_label_tree(labels, BOTH, 20)
    assert tree.branches == {"Airbus": {"A320": []}, "Boeing": {"737": ["737-700", "737-800"]}}
    assert notes == ["Boeing 787: 19 photos, under 20; counts as Boeing"]


def test_a_rare_model_falls_back_to_its_family() -> None:
    labels = photos(Boeing__737__737_700=20, Boeing__737__737_800=20, Boeing__737__737_200=3)
    tree, notes = build_label_tree(labels, ("Boeing",), 20)
    assert tree.branches == {"Boeing": {"737": ["737-700", "737-800"]}}
    assert notes == ["Boeing 737-200: 3 photos, under 20; counts as 737"]


def test_the_only_model_of_a_family_is_a_leaf_if_all_photos_of_the_family_have_it() -> None:
    assert build_label_tree(photos(Airbus__A380__A380_800=20), ("Airbus",), 20)[0].branches == {
        "Airbus": {"A380": ["A380-800"]}
    }


def test_the_only_frequent_model_is_not_a_leaf_if_its_family_has_other_photos() -> None:
    tree, notes = build_label_tree(photos(Airbus__A320__A320neo=30, Airbus__A320=50), ("Airbus",), 20)
    assert tree.branches == {"Airbus": {"A320": []}}
    assert "while 50 are of other or unnamed models" in notes[0]


def test_the_only_frequent_family_is_not_a_leaf_if_its_constructor_has_other_photos() -> None:
    tree, notes = build_label_tree(photos(Boeing__737__737_800=30, Boeing__747=10), ("Boeing",), 20)
    assert tree.branches == {"Boeing": {}}
    assert "while 10 are of other or unnamed families; counts as Boeing" in notes[-1]


def test_other_constructors_are_excluded() -> None:
    assert build_label_tree(photos(Airbus__A320=9, ATR__72=99), ("Airbus",), 5)[0].constructors == ("Airbus",)


parts = st.sampled_from(["x", "y", "z"])
labels = st.lists(
    st.one_of(
        st.builds(Label, st.sampled_from(BOTH)),
        st.builds(Label, st.sampled_from(BOTH), parts),
        st.builds(lambda c, f, m: Label(c, f, f + m), st.sampled_from(BOTH), parts, parts),
    ),
    max_size=60,
)


@given(labels, st.integers(1, 10))
def test_every_leaf_has_enough_photos_and_every_label_keeps_its_constructor(
    drawn: list[Label], min_photos: int
) -> None:
    tree, _ = build_label_tree(drawn, BOTH, min_photos)
    for leaves in tree.leaves.values():
        for leaf in leaves:
            if leaf.family:
                below = [label for label in drawn if label[: 3 if leaf.model else 2] == leaf[: 3 if leaf.model else 2]]
                assert len(below) >= min_photos
    assert all(tree.clip(label).constructor == label.constructor for label in drawn)
