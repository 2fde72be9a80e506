"""Uploads: parse the photos of a multipart/form-data request, with bounded memory and time.

Each part is a photo; its field name is the id of the photo. Parsing stops at the first byte beyond a limit.
"""

import asyncio
import re
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from planespotter_client import Limits

MEDIA_TYPE = "multipart/form-data"
MAX_PHOTOS = 64
MAX_BYTES = 32 * 2**20  # of all photos in a request, unless it has only one
MAX_HEADER_BYTES = 2**10  # of each part, with its boundary
TIMEOUT_SECONDS = 120.0
"""How long the body of a request may take to arrive: a slow upload must not block the others."""
ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")


class UploadError(Exception):
    """The body of a request is invalid, too large or too slow. The text says why."""


def max_bytes(limits: Limits) -> int:
    """Return how many bytes of photos a request may have for a server with these `limits`."""
    return max(MAX_BYTES, limits.max_photo_bytes)


async def read_photos(
    content_type: str,
    chunks: AsyncIterator[bytes],
    limits: Limits,
    timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109
) -> dict[str, bytes]:
    """Read the photos of a request, by id, in their order.

    Args:
        content_type: The Content-Type header, which has the boundary.
        chunks: The body.
        limits: Limits of the server.
        timeout: Seconds that the body may take to arrive.

    Raises:
        UploadError: The body is invalid, too large or too slow.
    """
    parser = _PhotoParser(content_type, limits)
    try:
        async with asyncio.timeout(timeout):
            async for chunk in chunks:
                parser.write(chunk)
    except TimeoutError as error:
        raise UploadError(f"The photos did not arrive within {timeout:g} s. Send fewer at a time.") from error
    return parser.finish()


class _PhotoParser:
    """Collects the parts of a multipart body, and checks the limits on the way."""

    def __init__(self, content_type: str, limits: Limits) -> None:
        self._limits = limits
        self._max_bytes = max_bytes(limits)
        self._received = self._photo_bytes = 0
        self._photos: dict[str, bytes] = {}
        self._photo_id = ""
        self._content = bytearray()
        self._header_bytes = 0
        self._header_name, self._header_value, self._disposition = bytearray(), bytearray(), b""
        self._complete = False
        try:
            self._parser = MultipartParser(
                parse_options_header(content_type)[1].get(b"boundary", b""),
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _invalid(error) from error

    def write(self, chunk: bytes) -> None:
        """Parse the next chunk of the body."""
        self._received += len(chunk)
        if self._received > self._max_bytes + MAX_HEADER_BYTES * (MAX_PHOTOS + 1):
            raise self._too_large()
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _invalid(error) from error

    def finish(self) -> dict[str, bytes]:
        """Return the photos at the end of the body."""
        if not self._complete:
            raise UploadError("The upload was cut off: its last boundary is missing.")
        if not self._photos:
            raise _count_error()
        return self._photos

    def _too_large(self) -> UploadError:
        return UploadError(f"The photos have more than {self._max_bytes:,} bytes together. Send fewer at a time.")

    def _on_part_begin(self) -> None:
        if len(self._photos) == MAX_PHOTOS:
            raise _count_error()
        self._header_bytes = 0
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += self._header_piece(data, start, end)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += self._header_piece(data, start, end)

    def _header_piece(self, data: bytes, start: int, end: int) -> bytes:
        self._header_bytes += end - start
        if self._header_bytes > MAX_HEADER_BYTES:
            raise UploadError(f"The headers of a part have more than {MAX_HEADER_BYTES:,} bytes.")
        return data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        photo_id = parse_options_header(self._disposition)[1].get(b"name", b"")
        if not ID.fullmatch(photo_id):
            raise UploadError("A photo has an invalid id. Name each part by 1 to 64 letters, digits, - and _.")
        self._photo_id = photo_id.decode()
        if self._photo_id in self._photos:
            raise UploadError(f"The id {self._photo_id} is not unique. Name each part differently.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]
        if len(self._content) > self._limits.max_photo_bytes:
            raise UploadError(f"A photo is larger than the server's limit of {self._limits.max_photo_bytes:,} bytes.")
        self._photo_bytes += end - start
        if self._photo_bytes > self._max_bytes:
            raise self._too_large()

    def _on_part_end(self) -> None:
        self._photos[self._photo_id] = bytes(self._content)
        self._content.clear()

    def _on_end(self) -> None:
        self._complete = True


def _count_error() -> UploadError:
    return UploadError(f"The number of photos in a request must be 1 to {MAX_PHOTOS}.")


def _invalid(error: FormParserError) -> UploadError:
    return UploadError(f"The upload is not valid multipart/form-data: {error}")
