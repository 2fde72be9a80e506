"""Uploads: photos of a multipart request, within limits of size, number and time."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.web.multipart import CONTENT_TYPE, LIMITS, multipart

from planespotter_client.web import uploads

PHOTO_IDS = st.text("abcXYZ0189-_", min_size=1, max_size=64)


async def in_chunks(content: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    positions = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    for start, end in pairwise(positions):
        yield content[start:end]


async def read(content: bytes, content_type: str = CONTENT_TYPE) -> dict[str, bytes]:
    return await uploads.read_photos(content_type, in_chunks(content, []), LIMITS)


@given(st.dictionaries(PHOTO_IDS, st.binary(max_size=60), min_size=1), st.lists(st.integers(0)))
async def test_photos_are_read_from_any_chunks(photos: dict[str, bytes], cuts: list[int]) -> None:
    chunks = in_chunks(multipart(list(photos.items())), cuts)
    result = await uploads.read_photos(CONTENT_TYPE, chunks, LIMITS)
    assert result == photos
    assert list(result) == list(photos), "in their order"


@given(st.binary(max_size=200), st.lists(st.integers(0)))
async def test_any_other_body_is_an_upload_error(content: bytes, cuts: list[int]) -> None:
    with pytest.raises(uploads.UploadError):
        await uploads.read_photos(CONTENT_TYPE, in_chunks(content, cuts), LIMITS)


@given(st.integers(0, 400))
async def test_truncated_body_is_an_upload_error(cut: int) -> None:
    content = multipart([("1", b"one"), ("2", b"two")])
    end = content.rindex(b"--")
    with pytest.raises(uploads.UploadError):
        await read(content[: min(cut, end)])


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([("1", b"x" * 1001)], "A photo is larger than the server's limit of 1,000 bytes"),
        ([(str(number), b"x") for number in range(65)], "must be 1 to 64"),
        ([("1", b"a"), ("1", b"b")], "The id 1 is not unique"),
        ([("a b", b"x")], "invalid id"),
        ([("x" * 65, b"x")], "invalid id"),
        ([("x" * 2000, b"x")], "headers of a part have more than 1,024 bytes"),
    ],
)
async def test_upload_beyond_a_limit_is_rejected(photos: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(uploads.UploadError, match=message):
        await read(multipart(photos))


async def test_upload_without_photos_or_boundary_is_rejected() -> None:
    with pytest.raises(uploads.UploadError, match="must be 1 to 64"):
        await read(b"--0123456789abcdef--\r\n")
    with pytest.raises(uploads.UploadError, match="not valid multipart/form-data"):
        await read(multipart([("1", b"photo")]), "multipart/form-data")


async def test_total_size_is_limited_and_the_rest_of_the_body_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 1500)
    with pytest.raises(uploads.UploadError, match="more than 1,500 bytes together"):
        await read(multipart([("1", b"x" * 800), ("2", b"x" * 800)]))
    read_bytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read_bytes
        yield multipart([("1", b"photo")])
        while True:
            read_bytes += 1000
            yield b"x" * 1000

    with pytest.raises(uploads.UploadError, match="more than 1,500 bytes together"):
        await uploads.read_photos(CONTENT_TYPE, endless(), LIMITS)
    assert read_bytes < 100_000


async def test_upload_that_never_ends_is_rejected_after_a_timeout() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield multipart([("1", b"photo")])[:-10]
        await asyncio.Event().wait()

    with pytest.raises(uploads.UploadError, match="did not arrive within"):
        await uploads.read_photos(CONTENT_TYPE, stuck(), LIMITS, timeout=0.1)
