"""The sides of the split: by airframe, and the same wherever the airframe turns up."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from planespotter_training.split import SPLITS, assign


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
