"""Batch splitting: any number of photos is run in the batch sizes that are compiled."""

from hypothesis import given
from hypothesis import strategies as st

from planespotter_models.engines.base import split_into_batches


@given(
    st.integers(1, 200),
    st.sets(st.integers(1, 40), min_size=1).map(sorted),
    st.floats(0, 1),
)
def test_batches_cover_all_photos_with_bounded_padding(photos: int, sizes: list[int], max_padding: float) -> None:
    batches = split_into_batches(photos, sizes, max_padding)
    assert set(batches) <= set(sizes)
    assert sum(batches[:-1]) < photos <= sum(batches)
    padding = sum(batches) - photos
    assert padding <= max_padding * batches[-1] or batches[-1] == min(sizes)


def test_padding_is_small() -> None:
    sizes = (1, 2, 4, 8, 16, 32)
    assert split_into_batches(17, sizes, 1 / 8) == [16, 1]
    assert split_into_batches(31, sizes, 1 / 8) == [32]
    assert split_into_batches(17, sizes, 1) == [32]
    assert split_into_batches(70, sizes, 1 / 8) == [32, 32, 4, 2]
