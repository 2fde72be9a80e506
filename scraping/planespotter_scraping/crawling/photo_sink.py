"""Fetch the images of photos that a page lists and put them into the catalog, whichever way the page was read.

The images are fetched directly, since a browser would only make them slower.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from planespotter_scraping import catalog
from planespotter_scraping.crawling.backoff import Backoff, asks_to_wait
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.images.similarity import phash
from planespotter_scraping.images.validation import IMAGE_BYTES, SUFFIXES, validate_image
from planespotter_scraping.labels.parser import label_path
from planespotter_scraping.sites import Listing

IMAGES_AT_ONCE = 4
IMAGE_SECONDS = 30.0  # without a byte, before an image counts as one that does not come
TRIES = 3  # for an image that does not come
WAITS = 5  # for an image that is to come later
REFUSALS = 8  # images in a row that are refused, after which it is the site that refuses us


class ImageForbiddenError(ValueError):
    """The site will not hand out an image."""


@dataclass
class PhotoSink:
    """Puts the photos of one source into the catalog in `out`, each once.

    `constructors` are those whose aircraft to keep (None: all). `columns` go into each new row beside what the
    page says. `progress` is called after each photo and page, and when a wait begins or ends. With `robots`, images are
    fetched only where their host's rules allow it.
    """

    source: str
    out: Path
    client: httpx.AsyncClient
    constructors: Collection[str] | None
    columns: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[CrawlResult], None] = lambda outcome: None
    robots: Robots | None = None
    outcome: CrawlResult = field(default_factory=CrawlResult)

    def __post_init__(self) -> None:
        self.known = catalog.photo_ids(self.out)
        self.patience = Backoff(self._tell)
        self.refusals = 0
        wanted = self.constructors
        self.wanted = None if wanted is None else {label_path(name, "").constructor for name in wanted}

    async def store_page(self, listing: Listing) -> None:
        """Keep the photos of one page, and count the page."""
        for name, reasons in listing.missing.items():
            self.outcome.missing.setdefault(name, Counter()).update(reasons)
        self.outcome.last_page = listing.last_page or self.outcome.last_page
        self.outcome.photos_read += len(listing.photos)
        for photo in listing.photos:
            self.outcome.field_counts.update({name: value != "" for name, value in photo.items()})
        slots = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def keep(photo: Mapping[str, str]) -> None:
            async with slots:
                await self.keep(photo)

        try:
            async with asyncio.TaskGroup() as group:
                for photo in listing.photos:
                    group.create_task(keep(photo))
        except ExceptionGroup as errors:  # the first one has ended the others
            raise errors.exceptions[0] from None
        self.outcome.pages += 1
        self.progress(self.outcome)

    async def keep(self, photo: Mapping[str, str]) -> None:
        """Fetch the image of one photo and add it to the catalog, unless it is there or not wanted."""
        photo_id = f"{self.source}-{photo['photo_id']}"  # several sites may share a catalog
        constructor = label_path(photo["constructor"], photo["aircraft_type"]).constructor
        if photo_id in self.known:
            self.outcome.known += 1
        elif self.wanted is not None and constructor not in self.wanted:
            self.outcome.other_constructors[constructor or "not said"] += 1
        else:
            self.known.add(photo_id)
            try:
                data = await self._image(photo["image_url"])
                kind, width, height = validate_image(data)
            except ValueError as error:
                self.outcome.bad_images[photo_id] = str(error)
            except BaseException:
                self.known.discard(photo_id)  # the page may be read again
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
                self.outcome.stored += 1
        self.progress(self.outcome)

    async def _image(self, url: str) -> bytes:
        """Return the image at `url`. Raises ValueError if it cannot be had, CrawlAbortedError if none can."""
        if self.robots is not None and (reason := await self.robots.forbids_image(url)):
            raise ValueError(reason)
        try:
            data = await fetch(self.client, url, self.patience)
        except ImageForbiddenError as error:
            self.refusals += 1
            if self.refusals >= REFUSALS:
                raise CrawlAbortedError(
                    f"The site refuses to hand out its images: {REFUSALS} in a row, the last being {error}. "
                    f"{self.outcome.stored} photos were stored. Ask those who run the site."
                ) from None
            raise
        self.refusals = 0
        return data

    def _tell(self, text: str) -> None:
        """Show why nothing happens just now."""
        self.outcome.wait_notice = text
        self.progress(self.outcome)


async def fetch(client: httpx.AsyncClient, url: str, patience: Backoff | None = None) -> bytes:
    """Return the image at `url`, when the site is ready to give it.

    Raises ValueError with a reason if it cannot be had, after a few tries; CrawlAbortedError if that takes too long.
    """
    patience = patience or Backoff()
    tries = waits = 0
    while True:
        await patience.rest()
        try:
            answer, data = await _download(client, url)
        except httpx.HTTPError as error:
            reason = f"{url} did not answer ({type(error).__name__})"
        except httpx.InvalidURL:
            raise ValueError(f"{url!r} is not an address") from None
        else:
            status = answer.status_code
            reason = f"{url} answered {status}"
            if asks_to_wait(status, answer.headers.get("retry-after")) and waits < WAITS:
                patience.postpone(url, status, answer.headers.get("retry-after"))
                waits += 1
                continue
            patience.welcome()
            if answer.is_success:
                return data
            if status in (401, 403):
                raise ImageForbiddenError(reason)
            if status < 500:
                raise ValueError(reason)  # asking again would bring the same answer
        tries += 1
        if tries == TRIES:
            raise ValueError(reason)
        await asyncio.sleep(0.5 * tries)


async def _download(client: httpx.AsyncClient, url: str) -> tuple[httpx.Response, bytes]:
    """Return what is at `url`, and the answer that it came with. Raises ValueError if it is larger than any photo."""
    data = bytearray()
    async with client.stream("GET", url, timeout=IMAGE_SECONDS) as answer:
        async for piece in answer.aiter_bytes():
            data += piece
            if len(data) > IMAGE_BYTES:
                raise ValueError(f"{url} goes on after {IMAGE_BYTES} bytes, and larger images are not read")
    return answer, bytes(data)
