"""API crawl: read photos by category from a site's API, one request at a time and rate-limited, images included.

Each requested category gives its own files first, then those of its subcategories in round robin, a few at a time, so
that a limit is not used up by one airline or one afternoon.

Only the catalog is stored on disk. An interrupted crawl queries the lists again, 50 files per request, but not the
images, which take the time. The order is deterministic, and photos that the catalog already has count towards the
limits. So the same command ends with the same photos regardless of interruptions.
"""

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urljoin
from zlib import crc32

import httpx

from planespotter_photos.counts import count_noun
from planespotter_scraping.crawling.backoff import should_back_off
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError
from planespotter_scraping.sites import ApiResponse, ApiSite

MAX_TRIES = 3  # of a query, after errors
MAX_WAITS = 20  # of a query, after responses that ask to retry later
PHOTOS_PER_ROUND = 10  # of one category, before the next category
MAX_PARTS = 50  # responses in one batch; more of them never end
MAX_BAD_IN_A_ROW = 5  # images, after which the problem is not the single image


@dataclass(frozen=True)
class CategoryPlan:
    """What to take from a site with categories.

    Attributes:
        categories: Requested categories; empty for the site's default.
        depth: Levels of subcategories to search.
        per_category: Maximum photos of each requested category, including known ones.
        photos: Maximum photos in total, including known ones; None for no limit.
        width: Image width in pixels; smaller originals keep their size.
    """

    categories: tuple[str, ...] = ()
    depth: int = 3
    per_category: int = 200
    photos: int | None = None
    width: int = 1280


def make_plan(
    categories: Sequence[str] | None,
    depth: int | None,
    per_category: int | None,
    photos: int | None,
    width: int | None,
) -> CategoryPlan | None:
    """Return the plan with these values, and defaults for those that are None; None if all are."""
    values = {"categories": tuple(categories or ()) or None, "depth": depth, "per_category": per_category}
    values |= {"photos": photos, "width": width}
    chosen = {name: value for name, value in values.items() if value is not None}
    return CategoryPlan(**chosen) if chosen else None  # type: ignore[arg-type]


class RateLimitedTransport(httpx.AsyncBaseTransport):
    """HTTP transport with one request at a time and a rate limit.

    Args:
        per_minute: Maximum requests per minute.
    """

    def __init__(self, per_minute: float) -> None:
        self._transport = httpx.AsyncHTTPTransport()
        self._interval, self._next_time, self._lock = 60 / per_minute, 0.0, asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once the rate limit allows it."""
        async with self._lock:
            await asyncio.sleep(self._next_time - time.monotonic())
            self._next_time = time.monotonic() + self._interval
            return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


@dataclass
class _Category:
    """A category in progress.

    Attributes:
        path: Names of the categories from the requested one down to this one.
        pending: Photos to store.
        continuation: Parameters of the next query: {} before the first response, None after the last one.
    """

    path: tuple[str, ...]
    pending: deque[dict[str, str]] = field(default_factory=deque)
    continuation: Mapping[str, str] | None = field(default_factory=dict)


@dataclass
class _Root:
    """A requested category: the queue of itself and its subcategories, and how many photos it gave."""

    name: str
    queue: deque[_Category]
    taken: int = 0
    empty: bool = True


async def crawl_categories(site: ApiSite, base: str, sink: PhotoSink, plan: CategoryPlan) -> int:
    """Store the photos of a plan.

    Args:
        site: The site.
        base: Its URL.
        sink: Where the photos go. Categories that cannot be read are bad pages of its result.
        plan: What to take.

    Returns:
        Number of batches that were read.

    Raises:
        ScrapeError: The plan does not fit the site, or all its categories are empty.
        CrawlAbortedError: The site denies access or does not respond.
        CatalogError: The catalog cannot be written.
    """
    if plan.width not in site.widths:
        widths = ", ".join(map(str, site.widths))
        raise ScrapeError(f"The site {site.name} has no images {plan.width} pixels wide. Choose one of: {widths}.")
    names = [_category_name(category) for category in plan.categories] or list(site.categories)
    if not all(names):
        raise ScrapeError('--category is empty. Pass a name such as --category "Airbus A320-200".')
    roots = [_Root(name, deque([_Category((name,))])) for name in dict.fromkeys(names)]
    await _CategoryCrawl(site, base, sink, plan).run(roots)
    return sink.result.pages


class _CategoryCrawl:
    """One crawl of a site's categories."""

    def __init__(self, site: ApiSite, base: str, sink: PhotoSink, plan: CategoryPlan) -> None:
        self.site, self.base, self.sink, self.plan = site, base, sink, plan
        self.api_url = urljoin(base, site.api_path)
        self.visited: set[str] = set()
        self.photo_ids: set[str] = set()  # a file may be in many categories
        self.bad_in_a_row = 0

    async def run(self, roots: list[_Root]) -> None:
        """Serve the requested categories in round robin, until all are exhausted or a limit is reached."""
        self.visited.update(root.name for root in roots)
        limit = self.plan.per_category * len(roots)
        total = self.sink.result.max_photos = min(limit, self.plan.photos or limit)
        active, unfinished = deque(roots), 0
        while active and sum(root.taken for root in roots) < total:
            root = active.popleft()
            limits = self.plan.per_category - root.taken, total - sum(root.taken for root in roots)
            await self.take(root, min(PHOTOS_PER_ROUND, *limits))
            if root.queue and root.taken < self.plan.per_category:
                active.append(root)
            else:
                unfinished += bool(root.queue)
        self.add_notes(roots, unfinished)

    def add_notes(self, roots: list[_Root], unfinished: int) -> None:
        """Note which categories are empty, and how many have more photos.

        Raises:
            ScrapeError: All categories are empty.
        """
        result = self.sink.result
        empty = [root.name for root in roots if root.empty and not root.queue]
        empty = [name for name in empty if f"Category:{name}" not in result.bad_pages]
        if len(empty) == len(roots):
            raise ScrapeError(
                f"{'The category is' if len(empty) == 1 else 'All categories are'} empty or missing at {self.base}: "
                f"{', '.join(empty)}. Check the spelling on the site; it is case-sensitive."
            )
        for name in empty:
            result.notes[f"The category {name} is empty or does not exist."] += 1
        if unfinished:
            result.notes[
                f"{count_noun(unfinished, 'category has', 'categories have')} more photos. Raise --per-category to "
                "get them."
            ] += 1

    async def take(self, root: _Root, limit: int) -> None:
        """Store up to `limit` photos of a root's next category, and requeue the category if it has more."""
        category = root.queue.popleft()
        self.sink.result.category = category.path[-1]
        if not category.pending and category.continuation is not None:
            await self.list_members(root, category)
        count = 0
        while category.pending and count < limit:
            photo = category.pending.popleft()
            if photo["photo_id"] not in self.photo_ids:
                self.photo_ids.add(photo["photo_id"])
                count += await self.store(photo)
        root.taken += count
        if category.pending or category.continuation is not None:
            root.queue.append(category)

    async def store(self, photo: Mapping[str, str]) -> bool:
        """Store one photo, and return whether the catalog has it now.

        Raises:
            CrawlAbortedError: The last MAX_BAD_IN_A_ROW images failed.
        """
        result = self.sink.result
        stored, known, bad = result.stored, result.known, len(result.bad_images)
        await self.sink.store(photo)
        if len(result.bad_images) > bad:
            self.bad_in_a_row += 1
            if self.bad_in_a_row == MAX_BAD_IN_A_ROW:
                reason = next(reversed(result.bad_images.values()))
                raise CrawlAbortedError(
                    f"{MAX_BAD_IN_A_ROW} images in a row failed, most recently because {reason}. {result.stored} "
                    "photos were stored. Run the same command again later; it downloads none of them twice."
                )
        elif result.stored > stored:
            self.bad_in_a_row = 0
        return result.stored + result.known > stored + known

    async def list_members(self, root: _Root, category: _Category) -> None:
        """Query the next batch of a category, up to 50 files, and queue its subcategories."""
        result, name = self.sink.result, category.path[-1]
        contents: list[object] = []
        continuation: Mapping[str, str] | None = category.continuation or {}
        while continuation is not None:
            previous = continuation
            content, response = await self.query(self.site.build_query(name, self.plan.width, previous))
            result.notes.update(response.warnings)
            continuation = response.continuation
            if response.error or continuation == previous or len(contents) >= MAX_PARTS:
                result.bad_pages[f"Category:{name}"] = response.error or "its list does not end"
                continuation = None
                break
            contents.append(content)
            if response.batch_complete:
                break
        category.continuation = continuation
        members = self.site.parse(contents, self.base, category.path)
        for field_name, reasons in members.missing.items():
            result.missing.setdefault(field_name, Counter()).update(reasons)
        result.excluded.update(members.excluded)
        result.skipped_categories.update(members.skipped_categories)
        if members.photos or members.categories or members.excluded or members.skipped_categories:
            root.empty = False
        category.pending.extend(sorted(members.photos, key=lambda photo: _shuffle_key(photo["photo_id"])))
        if len(category.path) <= self.plan.depth:
            for subcategory in sorted(members.categories, key=_shuffle_key):
                if subcategory not in self.visited:  # categories may form cycles
                    self.visited.add(subcategory)
                    root.queue.append(_Category((*category.path, subcategory)))
        result.pages += 1
        self.sink.progress(result)

    async def query(self, parameters: Mapping[str, str]) -> tuple[object, ApiResponse]:
        """Query the API, with retries.

        Returns:
            The JSON of the response, and its status.

        Raises:
            CrawlAbortedError: The API rejects the query, does not respond, or asks to wait for too long.
        """
        backoff, reason, tries = self.sink.backoff, "", 0
        for _ in range(MAX_WAITS):
            await backoff.wait()
            try:
                response = await self.sink.client.get(self.api_url, params=dict(parameters))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = f"did not respond ({type(error).__name__})"
            else:
                code, retry_after = response.status_code, response.headers.get("retry-after")
                reason = f"responded with {code}"
                if should_back_off(code, retry_after):
                    backoff.postpone(self.api_url, code, retry_after)
                    continue
                if response.is_success:
                    content = self.parse_json(response)
                    status = self.site.read_response(content)
                    if not status.busy:
                        backoff.reset()
                        return content, status
                    reason = f"is busy: {status.error.rstrip('.')}"
                    backoff.postpone(self.api_url, code, retry_after or str(math.ceil(status.retry_seconds)))
                    continue
                if code < 500:
                    raise CrawlAbortedError(
                        f"{self.api_url} {reason}: {_excerpt(response)}. The crawl stopped. Check the URL, and "
                        "the site's rules for programs."
                    )
            tries += 1
            if tries == MAX_TRIES:
                break
            await asyncio.sleep(0.5 * tries)
        raise CrawlAbortedError(
            f"{self.api_url} {reason}, and the crawl stopped. {count_noun(self.sink.result.stored, 'photo')} stored. "
            "Run the same command again later; it downloads none of them twice."
        )

    def parse_json(self, response: httpx.Response) -> object:
        """Return the JSON of a response. Raises CrawlAbortedError if it is not JSON."""
        try:
            content: object = response.json()
        except (ValueError, RecursionError):
            raise CrawlAbortedError(
                f"The response of {self.api_url} is not JSON: {_excerpt(response)}. Check that this is the URL of an "
                f"API such as that of {self.site.url}."
            ) from None
        return content


def _excerpt(response: httpx.Response) -> str:
    """Return the start of a response's text."""
    return repr(" ".join(response.text[:200].split())[:80])


def _shuffle_key(text: str) -> int:
    """Return a deterministic pseudorandom sort key: in alphabetical order, a limit would only reach airlines in A."""
    return crc32(text.encode())


def _category_name(category: str) -> str:
    """Return the name of a category, which may be a URL or start with "Category:"."""
    name = unquote(category.rpartition("Category:")[2] if "Category:" in category else category)
    name = " ".join(name.replace("_", " ").split())
    return name[:1].upper() + name[1:]
