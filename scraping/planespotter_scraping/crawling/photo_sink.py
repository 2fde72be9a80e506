"""Photo sink: download a page's images, validate them and append them to the catalog.

Images are downloaded directly over HTTP: going through the browser would only be slower.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from planespotter_scraping import catalog
from planespotter_scraping.crawling.backoff import Backoff, should_back_off
from planespotter_scraping.crawling.bounded_body import BodyError, get_body
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.images.similarity import phash
from planespotter_scraping.images.validation import IMAGE_BYTES, SUFFIXES, validate_image
from planespotter_scraping.labels.parser import label_path
from planespotter_scraping.sites import Listing

MAX_CONCURRENT_IMAGES = 4
IMAGE_TIMEOUT_SECONDS = 30.0  # without a byte
MAX_IMAGE_SECONDS = 120.0  # for the whole image
MIN_SIDE = 100  # pixels; a smaller image is the placeholder of a lazily loaded one
MAX_TRIES = 3  # of an image, after errors
MAX_WAITS = 5  # of an image, after responses that ask to retry later
MAX_FORBIDDEN_IN_A_ROW = 8  # images with 401 or 403, after which the crawl stops


class ImageForbiddenError(ValueError):
    """The site denies access to an image."""


@dataclass
class PhotoSink:
    """Store the photos of one source in a catalog, each once.

    Attributes:
        source: Name of the site; prefix of the photo ids.
        out: Folder of the catalog.
        client: HTTP client for the images.
        constructors: Store only aircraft by these; None for all.
        columns: Additional columns of each new row.
        progress: Called with the result after each photo and page, and when a wait begins or ends.
        robots: Rules of the image hosts; None to ignore them.
        result: The counts so far.
    """

    source: str
    out: Path
    client: httpx.AsyncClient
    constructors: Collection[str] | None
    columns: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[CrawlResult], None] = lambda result: None
    robots: Robots | None = None
    result: CrawlResult = field(default_factory=CrawlResult)

    def __post_init__(self) -> None:
        self.known_ids = catalog.photo_ids(self.out)
        self.backoff = Backoff(self._notify_wait)
        self.forbidden_in_a_row = 0
        names = self.constructors
        self.wanted = None if names is None else {label_path(name, "").constructor for name in names}

    async def store_page(self, listing: Listing) -> None:
        """Store the photos of one page or batch, and count the page."""
        for name, reasons in listing.missing.items():
            self.result.missing.setdefault(name, Counter()).update(reasons)
        self.result.last_page = listing.last_page or self.result.last_page
        self.result.photos_read += len(listing.photos)
        for photo in listing.photos:
            self.result.field_counts.update({name: value != "" for name, value in photo.items()})
        slots = asyncio.Semaphore(MAX_CONCURRENT_IMAGES)

        async def store(photo: Mapping[str, str]) -> None:
            async with slots:
                await self.store(photo)

        try:
            async with asyncio.TaskGroup() as group:
                for photo in listing.photos:
                    group.create_task(store(photo))
        except ExceptionGroup as errors:  # the first error has cancelled the other tasks
            raise errors.exceptions[0] from None
        self.result.pages += 1
        self.progress(self.result)

    async def store(self, photo: Mapping[str, str]) -> None:
        """Download one photo and append it to the catalog, unless it is known or its constructor is not wanted.

        An image that is unavailable or invalid is counted in the result.

        Raises:
            CrawlAbortedError: The site denies access to its images, or asks to wait for too long.
            CatalogError: The catalog cannot be written.
        """
        photo_id = f"{self.source}-{photo['photo_id']}"  # several sites may share a catalog
        constructor = label_path(photo["constructor"], photo["aircraft_type"]).constructor
        if photo_id in self.known_ids:
            self.result.known += 1
        elif self.wanted is not None and constructor not in self.wanted:
            self.result.other_constructors[constructor or "unknown"] += 1
        else:
            self.known_ids.add(photo_id)
            try:
                data = await self._download_image(photo["image_url"])
                kind, width, height = validate_image(data)
                if min(width, height) < MIN_SIDE:
                    raise ValueError(f"{photo['image_url']} has {width} x {height} pixels: a placeholder, not a photo")
            except ValueError as error:
                self.result.bad_images[photo_id] = str(error)
            except BaseException:
                self.known_ids.discard(photo_id)  # the page may be read again
                raise
            else:
                row = {
                    **photo,
                    **self.columns,
                    "photo_id": photo_id,
                    "source": self.source,
                    "width": str(width),
                    "height": str(height),
                    "phash": phash(data),
                    "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                catalog.append(self.out, row, data, SUFFIXES[kind])
                self.result.stored += 1
        self.progress(self.result)

    async def _download_image(self, url: str) -> bytes:
        """Download the image at `url`, if robots.txt allows it.

        Raises:
            ValueError: This image is unavailable.
            CrawlAbortedError: The last MAX_FORBIDDEN_IN_A_ROW images were denied.
        """
        if self.robots is not None and (reason := await self.robots.image_disallowed(url)):
            raise ValueError(reason)
        try:
            data = await download_image(self.client, url, self.backoff)
        except ImageForbiddenError as error:
            self.forbidden_in_a_row += 1
            if self.forbidden_in_a_row >= MAX_FORBIDDEN_IN_A_ROW:
                raise CrawlAbortedError(
                    f"The site denies access to its images: {MAX_FORBIDDEN_IN_A_ROW} in a row, most recently {error}. "
                    f"{self.result.stored} photos were stored. Ask the site's operators for permission."
                ) from None
            raise
        self.forbidden_in_a_row = 0
        return data

    def _notify_wait(self, text: str) -> None:
        """Report why the crawl is waiting."""
        self.result.wait_notice = text
        self.progress(self.result)


async def download_image(client: httpx.AsyncClient, url: str, backoff: Backoff | None = None) -> bytes:
    """Download an image, with retries.

    Args:
        client: HTTP client.
        url: URL of the image.
        backoff: Waits that the crawl shares. Default: a new one.

    Raises:
        ImageForbiddenError: The response was 401 or 403.
        ValueError: The image is unavailable or too large.
        CrawlAbortedError: The site asks to wait for too long.
    """
    backoff = backoff or Backoff()
    tries = waits = 0
    while True:
        await backoff.wait()
        try:
            response, data = await get_body(
                client, url, max_bytes=IMAGE_BYTES, seconds=MAX_IMAGE_SECONDS, idle_seconds=IMAGE_TIMEOUT_SECONDS
            )
        except BodyError as error:
            raise ValueError(f"{url} {error}") from None
        except httpx.HTTPError as error:
            reason = f"{url} did not respond ({type(error).__name__})"
        except httpx.InvalidURL:
            raise ValueError(f"{url!r} is not a valid URL") from None
        else:
            status, retry_after = response.status_code, response.headers.get("retry-after")
            reason = f"{url} responded with {status}"
            if should_back_off(status, retry_after) and waits < MAX_WAITS:
                backoff.postpone(url, status, retry_after)
                waits += 1
                continue
            backoff.reset()
            if response.is_success:
                return data
            if status in (401, 403):
                raise ImageForbiddenError(reason)
            if status < 500:
                raise ValueError(reason)  # a retry would give the same response
        tries += 1
        if tries == MAX_TRIES:
            raise ValueError(reason)
        await asyncio.sleep(0.5 * tries)
