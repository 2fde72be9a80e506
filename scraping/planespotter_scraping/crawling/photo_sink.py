"""Photo sink: download a page's images, validate them and append them to the catalog.

Images are downloaded directly over HTTP, with the Referer and the cookies that the browser would send: going through
the browser would only be slower. A thread decodes, hashes and writes the photos of a page in a few batches while others
are still downloaded: of each batch, first the images, then the rows with a single fsync.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from planespotter_photos.counts import count_noun
from planespotter_scraping import catalog
from planespotter_scraping.catalog import NewPhoto
from planespotter_scraping.crawling.ai_opt_out import AiOptOuts
from planespotter_scraping.crawling.backoff import Backoff, should_back_off
from planespotter_scraping.crawling.bounded_body import BodyError, get_body
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import cookie_jar
from planespotter_scraping.images.similarity import validate_and_hash
from planespotter_scraping.images.validation import IMAGE_BYTES, SUFFIXES
from planespotter_scraping.labels.parser import label_path
from planespotter_scraping.sites import Listing

MAX_CONCURRENT_IMAGES = 4
IMAGE_TIMEOUT_SECONDS = 30.0  # without a byte
MAX_IMAGE_SECONDS = 120.0  # for the whole image
MIN_SIDE = 100  # pixels; a smaller image is the placeholder of a lazily loaded one
MAX_TRIES = 3  # of an image, after errors
MAX_WAITS = 5  # of an image, after responses that ask to retry later
MAX_FORBIDDEN_IN_A_ROW = 8  # images with 401 or 403, after which the crawl stops
MIN_FAILED_IMAGES = 4  # of a page; fewer prove nothing
MAX_FAILED_SHARE = 0.8  # of a page's images, above which the crawl stops
BATCH_PHOTOS, BATCH_BYTES = 16, 64 << 20  # images in memory before they are written


class ImageForbiddenError(ValueError):
    """The site denies access to an image."""


@dataclass(frozen=True)
class _Download:
    """A downloaded image, and the row of its photo without the columns that the image yields."""

    row: Mapping[str, str]
    image_url: str
    image: bytes


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
        opt_outs: AI opt-outs of the site, its pages and its images.
        result: The counts so far.
    """

    source: str
    out: Path
    client: httpx.AsyncClient
    constructors: Collection[str] | None
    columns: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[CrawlResult], None] = lambda result: None
    robots: Robots | None = None
    opt_outs: AiOptOuts = field(default_factory=AiOptOuts)
    result: CrawlResult = field(default_factory=CrawlResult)

    def __post_init__(self) -> None:
        self.known_ids = catalog.photo_ids(self.out)
        self.backoff = Backoff(self._notify_wait)
        self.pending: list[_Download] = []  # not in the catalog yet
        self._writing = asyncio.Lock()
        self.forbidden_in_a_row = 0
        names = self.constructors
        self.wanted = None if names is None else {label_path(name, "").constructor for name in names}

    async def store_page(
        self, listing: Listing, *, referer: str = "", cookies: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """Store the photos of one page or batch, and count the page.

        Args:
            listing: The photos.
            referer: URL of the page that shows them, "" for none.
            cookies: Cookies of the browser, as Playwright returns them.

        Raises:
            CrawlAbortedError: The site denies access to its images, asks to wait for too long, or nearly all images of
                the page are unusable.
            CatalogError: The catalog cannot be written.
        """
        for cookie in cookie_jar(cookies):
            self.client.cookies.jar.set_cookie(cookie)
        for name, reasons in listing.missing.items():
            self.result.missing.setdefault(name, Counter()).update(reasons)
        self.result.last_page = listing.last_page or self.result.last_page
        self.result.photos_read += len(listing.photos)
        for photo in listing.photos:
            self.result.field_counts.update({name: value != "" for name, value in photo.items()})
        slots = asyncio.Semaphore(MAX_CONCURRENT_IMAGES)
        failed_before, usable_before = len(self.result.bad_images), self.result.stored + self.result.known

        async def store(photo: Mapping[str, str]) -> None:
            async with slots:
                await self.download(photo, referer)
            if len(self.pending) >= BATCH_PHOTOS or sum(len(each.image) for each in self.pending) >= BATCH_BYTES:
                await self.flush()

        try:
            async with asyncio.TaskGroup() as group:
                for photo in listing.photos:
                    group.create_task(store(photo))
        except ExceptionGroup as errors:  # the first error has cancelled the other tasks
            raise errors.exceptions[0] from None
        finally:
            await self.flush()  # after an error as well: nothing is downloaded twice
        self.result.pages += 1
        self.progress(self.result)
        failed = len(self.result.bad_images) - failed_before
        usable = self.result.stored + self.result.known - usable_before
        if failed >= MIN_FAILED_IMAGES and failed > MAX_FAILED_SHARE * (failed + usable):
            photo_id, reason = list(self.result.bad_images.items())[-1]
            raise CrawlAbortedError(
                f"{failed} of {count_noun(failed + usable, 'image')} of {referer or 'a page'} are unusable, such as "
                f"that of {photo_id}: {reason.rstrip('.')}. The crawl stopped; "
                f"{count_noun(self.result.stored, 'photo')} stored. Check the image URLs."
            )

    async def store(self, photo: Mapping[str, str]) -> None:
        """Download one photo and append it to the catalog: see `download`."""
        await self.download(photo)
        await self.flush()

    async def flush(self) -> None:
        """Append the downloaded photos to the catalog, and count them. Raises CatalogError if that is impossible."""
        async with self._writing:
            batch, self.pending = self.pending, []
            if not batch:
                return
            writing = asyncio.ensure_future(asyncio.to_thread(_store_batch, self.out, batch))
            try:
                await asyncio.shield(writing)
            finally:  # after a cancellation as well: the write takes a moment, and its photos are not downloaded again
                await asyncio.wait([writing])
                if writing.exception() is None:
                    invalid = writing.result()
                    self.result.bad_images.update(invalid)
                    self.result.stored += len(batch) - len(invalid)
                    self.progress(self.result)
                else:
                    self.known_ids.difference_update(download.row["photo_id"] for download in batch)

    async def download(self, photo: Mapping[str, str], referer: str = "") -> None:
        """Download one photo for the next `flush`, unless it is known or its constructor is not wanted.

        An image that is unavailable is counted in the result, as `flush` counts one that is invalid.

        Raises:
            CrawlAbortedError: The site denies access to its images, or asks to wait for too long.
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
                image = await self._download_image(photo["image_url"], referer)
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
                    "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                self.pending.append(_Download(row, photo["image_url"], image))
        self.progress(self.result)

    async def _download_image(self, url: str, referer: str) -> bytes:
        """Download the image at `url`, if robots.txt allows it.

        Raises:
            ValueError: This image is unavailable.
            CrawlAbortedError: The last MAX_FORBIDDEN_IN_A_ROW images were denied.
        """
        if self.robots is not None and (reason := await self.robots.image_disallowed(url)):
            raise ValueError(reason)
        try:
            data = await download_image(
                self.client, url, self.backoff, headers=referer_header(referer, url), opt_outs=self.opt_outs
            )
        except ImageForbiddenError as error:
            self.forbidden_in_a_row += 1
            if self.forbidden_in_a_row >= MAX_FORBIDDEN_IN_A_ROW:
                raise CrawlAbortedError(
                    f"The site denies access to its images: {MAX_FORBIDDEN_IN_A_ROW} in a row, most recently {error}. "
                    f"{count_noun(self.result.stored, 'photo')} stored. Ask the site's operators for permission."
                ) from None
            raise
        self.forbidden_in_a_row = 0
        return data

    def _notify_wait(self, text: str) -> None:
        """Report why the crawl is waiting."""
        self.result.wait_notice = text
        self.progress(self.result)


def _store_batch(out: Path, batch: Sequence[_Download]) -> dict[str, str]:
    """Append downloaded photos to a catalog, without those whose image is invalid.

    Args:
        out: Folder of the catalog.
        batch: The photos.

    Returns:
        Why an image is invalid, by photo id.

    Raises:
        CatalogError: The catalog cannot be written.
    """
    photos, invalid = list[NewPhoto](), dict[str, str]()
    for download in batch:
        try:
            photos.append(_examine(download))
        except ValueError as error:
            invalid[download.row["photo_id"]] = str(error)
    if photos:
        catalog.append_all(out, photos)
    return invalid


def _examine(download: _Download) -> NewPhoto:
    """Return a photo with its size and perceptual hash. Raises ValueError if its image is invalid."""
    kind, width, height, phash = validate_and_hash(download.image)
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{download.image_url} has {width} x {height} pixels: a placeholder, not a photo")
    image_columns = {"width": str(width), "height": str(height), "phash": phash}
    return NewPhoto({**download.row, **image_columns}, download.image, SUFFIXES[kind])


def referer_header(page_url: str, url: str) -> dict[str, str]:
    """Return the Referer header that a browser sends by default (strict-origin-when-cross-origin).

    Args:
        page_url: URL of the page that shows an image, "" for none.
        url: URL of the image.
    """
    try:
        page, image = urlsplit(page_url), urlsplit(url)
        host = page.hostname or ""
        port = f":{page.port}" if page.port else ""
    except ValueError:  # a malformed URL, which the request will report
        return {}
    if not host or (page.scheme == "https" and image.scheme != "https"):
        return {}
    origin = f"{page.scheme}://{f'[{host}]' if ':' in host else host}{port}"
    same_origin = (page.scheme, page.netloc) == (image.scheme, image.netloc)
    query = f"?{page.query}" if page.query else ""
    return {"Referer": f"{origin}{page.path or '/'}{query}" if same_origin else f"{origin}/"}


async def download_image(
    client: httpx.AsyncClient,
    url: str,
    backoff: Backoff | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    opt_outs: AiOptOuts | None = None,
) -> bytes:
    """Download an image, with retries.

    Args:
        client: HTTP client.
        url: URL of the image.
        backoff: Waits that the crawl shares. Default: a new one.
        headers: Additional headers of the request.
        opt_outs: AI opt-outs of the image; None to ignore them.

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
                client,
                url,
                max_bytes=IMAGE_BYTES,
                seconds=MAX_IMAGE_SECONDS,
                idle_seconds=IMAGE_TIMEOUT_SECONDS,
                headers=headers,
            )
        except BodyError as error:
            raise ValueError(f"{url} {error}") from None
        except httpx.TooManyRedirects:
            raise ValueError(f"{url} only leads to redirects") from None
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
                if opt_outs is not None and (reason := opt_outs.image_reason(response.headers)):
                    raise ValueError(f"{url} {reason}")
                return data
            if status in (401, 403):
                raise ImageForbiddenError(reason)
            if status < 500:
                raise ValueError(reason)  # a retry would give the same response
        tries += 1
        if tries == MAX_TRIES:
            raise ValueError(reason)
        await asyncio.sleep(0.5 * tries)
