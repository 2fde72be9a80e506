"""Bounded HTTP body: download a response with an upper limit for its decoded size and for the whole time.

Decompression is bounded as well: a few kilobytes of gzip can expand to gigabytes (a decompression bomb).
"""

import asyncio
import zlib
from collections.abc import Mapping

import httpx


class BodyError(ValueError):
    """A body that exceeds its limits or cannot be decoded. The text is the end of a sentence."""


async def get_body(
    client: httpx.AsyncClient,
    url: str,
    *,
    max_bytes: int,
    seconds: float,
    idle_seconds: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[httpx.Response, bytes]:
    """Download `url`.

    Args:
        client: HTTP client.
        url: URL of the resource.
        max_bytes: Maximum size of the decoded body.
        seconds: Maximum time for the whole response, redirects included.
        idle_seconds: Maximum time without a byte, after which httpx.TimeoutException is raised.
        headers: Additional headers of the request.

    Returns:
        The response, whose own body is not read, and the decoded body.

    Raises:
        BodyError: The body is larger, takes longer, or has an unknown or damaged encoding.
        httpx.HTTPError: The request failed.
    """
    data = bytearray()
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(
                "GET", url, headers={**(headers or {}), "Accept-Encoding": "gzip, deflate"}, timeout=idle_seconds
            ) as response,
        ):
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
                raise BodyError(f"has an unsupported Content-Encoding: {encoding[:40]!r}")
            inflate = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
            async for chunk in response.aiter_raw():
                data += chunk if inflate is None else inflate.decompress(chunk, max_bytes + 1 - len(data))
                if len(data) > max_bytes:
                    raise BodyError(f"is too large: more than {max_bytes} bytes")
    except TimeoutError:
        raise BodyError(f"did not arrive within {seconds:g} seconds") from None
    except zlib.error:
        raise BodyError("is damaged: its compression is invalid") from None
    return response, bytes(data)
