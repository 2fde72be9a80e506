"""Data split: by airframe and near duplicate, stable across catalogs."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from planespotter_training.data.split import SPLITS, assign, hold_out, splits_by_source, train_only


def catalog_rows(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["photo_id", "registration"], dtype=str)


@given(st.lists(st.tuples(st.uuids().map(str), st.sampled_from(["", "D-AIQT", "d aiqt", "N12", "G-ABCD"])), min_size=1))
def test_all_photos_of_an_airframe_are_in_one_split(rows: list[tuple[str, str]]) -> None:
    photos = catalog_rows(rows)
    photos["split"] = assign(photos)
    assert photos["split"].isin(SPLITS).all()
    plain = photos["registration"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    known = photos[plain != ""]
    assert (known.groupby(plain[plain != ""])["split"].nunique() == 1).all()


def test_a_photo_keeps_its_split_when_the_catalog_grows() -> None:
    few = catalog_rows([(f"p{i}", f"N{i // 3}") for i in range(50)])
    many = catalog_rows([(f"p{i}", f"N{i // 3}") for i in range(500)])
    assert list(assign(few)) == list(assign(many)[:50])


def test_the_splits_have_about_80_10_and_10_percent() -> None:
    shares = assign(catalog_rows([(f"p{i}", "") for i in range(20_000)])).value_counts(normalize=True)
    assert abs(shares["train"] - 0.8) < 0.02
    assert abs(shares["validation"] - 0.1) < 0.02
    assert abs(shares["test"] - 0.1) < 0.02


@given(st.lists(st.tuples(st.sampled_from(["", "D-AIQT", "N12", "G-ABCD", "F-GZCP"]), st.integers(0, 9)), min_size=1))
def test_near_duplicates_are_in_one_split_and_only_move_towards_training(
    rows: list[tuple[str, int]],
) -> None:
    photos = catalog_rows([(f"p{i}", registration) for i, (registration, _) in enumerate(rows)])
    groups = pd.Series([group for _, group in rows])
    alone = assign(photos)
    photos["split"] = assign(photos, groups)
    assert (photos.groupby(groups)["split"].nunique() == 1).all()
    known = photos[photos["registration"] != ""]
    assert (known.groupby("registration")["split"].nunique() == 1).all()
    moves = zip(photos["split"], alone, strict=True)
    assert all(SPLITS.index(after) <= SPLITS.index(earlier) for after, earlier in moves)


@given(
    st.lists(st.tuples(st.sampled_from(["", "D-AIQT", "N12", "G-ABCD"]), st.integers(0, 9), st.booleans()), min_size=1)
)
def test_held_out_and_train_only_photos_take_their_airframes_and_near_duplicates_along(
    rows: list[tuple[str, int, bool]],
) -> None:
    photos = catalog_rows([(f"p{i}", registration) for i, (registration, _, _) in enumerate(rows)])
    groups, selected = pd.Series([group for _, group, _ in rows]), pd.Series([out for _, _, out in rows])
    assigned = assign(photos, groups)
    for move, split in ((hold_out, "test"), (train_only, "train")):
        photos["split"] = move(assigned, photos, groups, selected)
        assert (photos["split"][selected] == split).all()
        assert (photos.groupby(groups)["split"].nunique() == 1).all()
        known = photos[photos["registration"] != ""]
        assert (known.groupby("registration")["split"].nunique() == 1).all()
        if not selected.any():
            assert list(photos["split"]) == list(assigned)


def test_photos_without_near_duplicates_have_the_split_of_their_airframe() -> None:
    photos = catalog_rows([(f"p{i}", f"N{i // 3}") for i in range(500)])
    assert list(assign(photos, pd.Series(range(500)))) == list(assign(photos))


def test_the_table_of_splits_counts_photos_and_leaks() -> None:
    photos = catalog_rows([("a", "N1"), ("b", "N1"), ("c", ""), ("d", "N2")])
    photos["source"] = ["x", "x", "y", "y"]
    photos["split"] = ["train", "test", "train", "validation"]
    table = splits_by_source(photos, pd.Series([0, 1, 2, 2]))
    assert list(table.index) == ["x", "y", "all"]
    assert table.iloc[-1].tolist()[:3] == [2, 1, 1]
    assert table["airframes in several splits"].tolist() == [1, 0, 1]
    assert table["near duplicates in several splits"].tolist() == [0, 1, 1]
