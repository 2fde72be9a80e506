"""A parcel: the few photos that the page sends in one request.

Its first line is JSON, {"photos": [["id", bytes], ...]}; the photos follow, one right behind the other. With
"explain": true beside "photos", the answers are to tell where in the photos the network looked.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from planespotter_client import Limits

MEDIA_TYPE = "application/x-planespotter-photos"
MOST_PHOTOS = 64
MOST_BYTES = 32 * 2**20  # of all the photos, unless there is just one
MOST_LINE = 16 * 2**10
MOST_SECONDS = 120.0
"""How long a parcel may take to come: those who never finish theirs must not keep the others out."""


class ParcelError(Exception):
    """What came is no parcel, or too large. The text says what is wrong with it."""


def most_bytes(limits: Limits) -> int:
    """Return how many bytes of photos a parcel may have for a server with these `limits`."""
    return max(MOST_BYTES, limits.max_photo_bytes)


@dataclass(frozen=True)
class Parcel:
    """Photos with their ids, and whether it is asked where the network looked."""

    photos: list[tuple[str, bytes]]
    explain: bool


async def read(chunks: AsyncIterator[bytes], limits: Limits, seconds: float = MOST_SECONDS) -> Parcel:
    """Return the parcel that comes in `chunks` within `seconds`. Raises ParcelError.

    Nothing beyond `limits` is kept: the line is read first, and no more is taken than it announces.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(chunks, limits)
    except TimeoutError as error:
        raise ParcelError(f"The photos did not come within {seconds:g} s; send fewer at a time.") from error


async def _read(chunks: AsyncIterator[bytes], limits: Limits) -> Parcel:
    held = bytearray()
    contents: list[tuple[str, int]] | None = None
    explain, awaited = False, 0
    async for chunk in chunks:
        held += chunk
        if contents is None:
            end = held.find(b"\n", 0, MOST_LINE)
            if end < 0:
                if len(held) > MOST_LINE:
                    raise ParcelError(f"The first line of the photos is longer than {MOST_LINE:,} bytes.")
                continue
            contents, explain = _contents(bytes(held[:end]), limits)
            awaited = sum(size for _, size in contents)
            del held[: end + 1]
        if len(held) > awaited:
            raise ParcelError(f"More came than the {awaited:,} bytes that were announced.")
    if contents is None:
        raise ParcelError("The photos ended before their first line did.")
    if len(held) < awaited:
        raise ParcelError(f"Only {len(held):,} of {awaited:,} bytes came.")
    photos, start = [], 0
    for name, size in contents:
        photos.append((name, bytes(memoryview(held)[start : start + size])))
        start += size
    return Parcel(photos, explain)


def _contents(line: bytes, limits: Limits) -> tuple[list[tuple[str, int]], bool]:
    """Return the ids and sizes that the first line announces, and what it asks."""
    try:
        said = json.loads(line)
        contents = [_entry(entry) for entry in said["photos"]]
        explain = said.get("explain", False) is True
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ParcelError("The first line of the photos does not say what they are.") from error
    if not 0 < len(contents) <= MOST_PHOTOS or len({name for name, _ in contents}) < len(contents):
        raise ParcelError(f"There must be 1 to {MOST_PHOTOS} photos in a request, each with an id of its own.")
    for _, size in contents:
        if size > limits.max_photo_bytes:
            raise ParcelError(f"A photo has {size:,} bytes; the server's limit is {limits.max_photo_bytes:,}.")
    if sum(size for _, size in contents) > most_bytes(limits):
        raise ParcelError(f"The photos have more than {most_bytes(limits):,} bytes together; send fewer at a time.")
    return contents, explain


def _entry(entry: Any) -> tuple[str, int]:
    name, size = entry
    if not isinstance(name, str) or not 0 < len(name) <= 64 or type(size) is not int or size < 0:
        raise ValueError("no id with a size")
    return name, size
