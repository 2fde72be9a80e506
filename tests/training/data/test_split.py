"""The sides of the split: by airframe and look, and the same wherever they turn up."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from planespotter_training.data.split import SPLITS, assign, keep_out, sides_by_source


def frame(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["photo_id", "registration"], dtype=str)


@given(st.lists(st.tuples(st.uuids().map(str), st.sampled_from(["", "D-AIQT", "d aiqt", "N12", "G-ABCD"])), min_size=1))
def test_all_photos_of_an_airframe_are_on_one_side(rows: list[tuple[str, str]]) -> None:
    photos = frame(rows)
    photos["split"] = assign(photos)
    assert photos["split"].isin(SPLITS).all()
    plain = photos["registration"].str.upper().str.replace(r"[^A-Z0-9]", "", regex=True)
    known = photos[plain != ""]
    assert (known.groupby(plain[plain != ""])["split"].nunique() == 1).all()


def test_a_photo_keeps_its_side_when_the_catalog_grows() -> None:
    few = frame([(f"p{i}", f"N{i // 3}") for i in range(50)])
    many = frame([(f"p{i}", f"N{i // 3}") for i in range(500)])
    assert list(assign(few)) == list(assign(many)[:50])


def test_the_sides_hold_about_80_10_and_10_percent() -> None:
    shares = assign(frame([(f"p{i}", "") for i in range(20_000)])).value_counts(normalize=True)
    assert abs(shares["train"] - 0.8) < 0.02
    assert abs(shares["validation"] - 0.1) < 0.02
    assert abs(shares["test"] - 0.1) < 0.02


@given(st.lists(st.tuples(st.sampled_from(["", "D-AIQT", "N12", "G-ABCD", "F-GZCP"]), st.integers(0, 9)), min_size=1))
def test_photos_that_look_alike_are_on_one_side_and_what_was_trained_on_stays_there(
    rows: list[tuple[str, int]],
) -> None:
    photos = frame([(f"p{i}", registration) for i, (registration, _) in enumerate(rows)])
    looks = pd.Series([look for _, look in rows])
    alone = assign(photos)
    photos["split"] = assign(photos, looks)
    assert (photos.groupby(looks)["split"].nunique() == 1).all()
    known = photos[photos["registration"] != ""]
    assert (known.groupby("registration")["split"].nunique() == 1).all()
    moves = zip(photos["split"], alone, strict=True)
    assert all(SPLITS.index(now) <= SPLITS.index(before) for now, before in moves)  # only ever towards training


@given(
    st.lists(st.tuples(st.sampled_from(["", "D-AIQT", "N12", "G-ABCD"]), st.integers(0, 9), st.booleans()), min_size=1)
)
def test_what_is_kept_out_takes_its_airframes_and_looks_to_the_test(rows: list[tuple[str, int, bool]]) -> None:
    photos = frame([(f"p{i}", registration) for i, (registration, _, _) in enumerate(rows)])
    looks, chosen = pd.Series([look for _, look, _ in rows]), pd.Series([out for _, _, out in rows])
    before = assign(photos, looks)
    photos["split"] = keep_out(before, photos, looks, chosen)
    assert (photos["split"][chosen] == "test").all()
    assert (photos.groupby(looks)["split"].nunique() == 1).all()
    known = photos[photos["registration"] != ""]
    assert (known.groupby("registration")["split"].nunique() == 1).all()
    if not chosen.any():
        assert list(photos["split"]) == list(before)


def test_photos_that_look_like_no_other_stay_where_their_airframe_is() -> None:
    photos = frame([(f"p{i}", f"N{i // 3}") for i in range(500)])
    assert list(assign(photos, pd.Series(range(500)))) == list(assign(photos))


def test_the_table_of_sides_counts_photos_and_finds_what_lies_on_several_sides() -> None:
    photos = frame([("a", "N1"), ("b", "N1"), ("c", ""), ("d", "N2")])
    photos["source"] = ["x", "x", "y", "y"]
    photos["split"] = ["train", "test", "train", "validation"]
    table = sides_by_source(photos, pd.Series([0, 1, 2, 2]))
    assert list(table.index) == ["x", "y", "all"]
    assert table.iloc[-1].tolist()[:3] == [2, 1, 1]
    assert table["airframes on several sides"].tolist() == [1, 0, 1]
    assert table["looks on several sides"].tolist() == [0, 1, 1]
