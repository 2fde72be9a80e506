"""Walk through a site whose API lists photos by category.

One request is made after the other, at a steady pace, images included. Each category that was asked for gives its
files first and then those of its subcategories in turn, a few of each at a time, so that a limit does not fill up with
the photos of one airline or one afternoon.

Nothing is remembered on the disk but the catalog. A walk that was cut short begins anew and asks for the lists again,
50 files in a request; what takes long, the images, is not asked for again. The order is the same each time, and photos
that the catalog holds already count towards the limits, so the same command ends at the same photos however often it
was killed.
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

from planespotter_scraping.crawling.backoff import asks_to_wait
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError
from planespotter_scraping.sites import Answer, ApiSite

TRIES = 3  # for a question that is not answered
WAITS = 20  # for a question that is to be asked later
TURN = 10  # photos of one category before it is the turn of the next
PARTS = 50  # answers that may make up one: more of them never end
BAD_IN_A_ROW = 5  # images, after which it is not the images that are bad


@dataclass(frozen=True)
class Plan:
    """What to take: the photos in `categories` (none: those of the site) and in theirs, `depth` levels down.

    At most `per_category` for each of `categories` and `photos` in all (None: no limit), with those that the catalog
    holds already. Images are `width` pixels wide, or less if their originals are.
    """

    categories: tuple[str, ...] = ()
    depth: int = 3
    per_category: int = 200
    photos: int | None = None
    width: int = 1280


def plan(
    categories: Sequence[str] | None,
    depth: int | None,
    per_category: int | None,
    photos: int | None,
    width: int | None,
) -> Plan | None:
    """Return the plan of someone who chose some of this, with the usual values for the rest; None if nothing."""
    chosen = {"categories": tuple(categories or ()) or None, "depth": depth, "per_category": per_category}
    chosen |= {"photos": photos, "width": width}
    given = {name: value for name, value in chosen.items() if value is not None}
    return Plan(**given) if given else None  # type: ignore[arg-type]


class Paced(httpx.AsyncBaseTransport):
    """Makes one request at a time, and no more than so many a minute."""

    def __init__(self, per_minute: float) -> None:
        self.transport = httpx.AsyncHTTPTransport()
        self.pause, self.next, self.turn = 60 / per_minute, 0.0, asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request when it is due."""
        async with self.turn:
            await asyncio.sleep(self.next - time.monotonic())
            self.next = time.monotonic() + self.pause
            return await self.transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


@dataclass
class _Category:
    """A category on the way through it: the names that led to it, and the photos that wait to be kept."""

    chain: tuple[str, ...]
    waiting: deque[dict[str, str]] = field(default_factory=deque)
    following: Mapping[str, str] | None = field(default_factory=dict)  # {} before the first answer, None after the last


@dataclass
class _Root:
    """A category that was asked for: those below it that are still to be seen, in turn, and how many photos it gave."""

    name: str
    queue: deque[_Category]
    taken: int = 0
    empty: bool = True


async def walk(site: ApiSite, base: str, sink: PhotoSink, plan: Plan) -> int:
    """Keep the photos of `plan` from the site at `base`, and return how many answers told of them.

    Categories that could not be read are among the bad pages of the sink's outcome. Raises ScrapeError for a plan
    that the site cannot follow, CrawlAbortedError if the site must not be asked further or does not answer, and what
    the sink raises.
    """
    if plan.width not in site.widths:
        widths = ", ".join(map(str, site.widths))
        raise ScrapeError(f"The site {site.name} has no images {plan.width} pixels wide. Choose one of: {widths}.")
    names = [_name(category) for category in plan.categories] or list(site.categories)
    if not all(names):
        raise ScrapeError('A category has no name. Give one such as --category "Airbus A320-200".')
    await _Walk(site, base, sink, plan).run([_Root(name, deque([_Category((name,))])) for name in dict.fromkeys(names)])
    return sink.outcome.pages


class _Walk:
    """One walk."""

    def __init__(self, site: ApiSite, base: str, sink: PhotoSink, plan: Plan) -> None:
        self.site, self.base, self.sink, self.plan = site, base, sink, plan
        self.api = urljoin(base, site.path)
        self.visited: set[str] = set()
        self.seen: set[str] = set()  # photos, since a file may be in many categories
        self.bad = 0

    async def run(self, roots: list[_Root]) -> None:
        """Take turns between the categories that were asked for, until none has more or all limits are reached."""
        self.visited.update(root.name for root in roots)
        most = self.plan.per_category * len(roots)
        self.sink.outcome.max_photos = min(most, self.plan.photos or most)
        active, ended = deque(roots), 0
        while active and self.room(sum(root.taken for root in roots), self.plan.photos):
            root = active.popleft()
            limits = (
                self.plan.per_category - root.taken,
                (self.plan.photos or math.inf) - sum(root.taken for root in roots),
            )
            await self.turn(root, min(TURN, *limits))
            if root.queue and self.room(root.taken, self.plan.per_category):
                active.append(root)
            else:
                ended += bool(root.queue)
        self.note_ends(roots, ended)

    @staticmethod
    def room(taken: int, limit: int | None) -> bool:
        """Return whether more photos may be taken."""
        return limit is None or taken < limit

    def note_ends(self, roots: list[_Root], ended: int) -> None:
        """Note which categories gave nothing, and how many would give more. Raises ScrapeError if all are empty."""
        outcome = self.sink.outcome
        empty = [root.name for root in roots if root.empty and not root.queue]
        empty = [name for name in empty if f"Category:{name}" not in outcome.bad_pages]
        if len(empty) == len(roots):
            raise ScrapeError(
                f"There is nothing in {'the category' if len(empty) == 1 else 'these categories'} of {self.base}: "
                f"{', '.join(empty)}. Check on the site how it is written; the case of letters counts."
            )
        for name in empty:
            outcome.notes[f"The category {name} is empty or does not exist."] += 1
        if ended:
            outcome.notes[f"{ended} categories have more photos: --per-category says how many of each to take."] += 1

    async def turn(self, root: _Root, most: float) -> None:
        """Keep up to `most` photos of the next category of `root`, and put it behind the others if it has more."""
        category = root.queue.popleft()
        self.sink.outcome.category = category.chain[-1]
        if not category.waiting and category.following is not None:
            await self.list(root, category)
        count = 0
        while category.waiting and count < most:
            photo = category.waiting.popleft()
            if photo["photo_id"] not in self.seen:
                self.seen.add(photo["photo_id"])
                count += await self.keep(photo)
        root.taken += count
        if category.waiting or category.following is not None:
            root.queue.append(category)

    async def keep(self, photo: Mapping[str, str]) -> bool:
        """Keep one photo, and return whether the catalog has it now. Raises CrawlAbortedError if no image comes."""
        outcome = self.sink.outcome
        stored, known, bad = outcome.stored, outcome.known, len(outcome.bad_images)
        await self.sink.keep(photo)
        if len(outcome.bad_images) > bad:
            self.bad += 1
            if self.bad == BAD_IN_A_ROW:
                reason = next(reversed(outcome.bad_images.values()))
                raise CrawlAbortedError(
                    f"{BAD_IN_A_ROW} images in a row could not be had, the last one because {reason}. {outcome.stored} "
                    "photos were stored. Run the same command again later; it fetches none of them twice."
                )
        elif outcome.stored > stored:
            self.bad = 0
        return outcome.stored + outcome.known > stored + known

    async def list(self, root: _Root, category: _Category) -> None:
        """Ask what is in a category, up to 50 files of it, and queue the categories in it."""
        outcome, name = self.sink.outcome, category.chain[-1]
        answers: list[object] = []
        following: Mapping[str, str] | None = category.following or {}
        while following is not None:
            before = following
            answer, said = await self.ask(self.site.query(name, self.plan.width, before))
            outcome.notes.update(said.notes)
            following = said.following
            if said.error or following == before or len(answers) >= PARTS:
                outcome.bad_pages[f"Category:{name}"] = said.error or "Its list does not end"
                following = None
                break
            answers.append(answer)
            if said.complete:
                break
        category.following = following
        members = self.site.parse(answers, self.base, category.chain)
        for field_name, reasons in members.missing.items():
            outcome.missing.setdefault(field_name, Counter()).update(reasons)
        outcome.excluded.update(members.excluded)
        outcome.skipped_categories.update(members.skipped)
        if members.photos or members.categories or members.excluded or members.skipped:
            root.empty = False
        category.waiting.extend(sorted(members.photos, key=lambda photo: _mixed(photo["photo_id"])))
        if len(category.chain) <= self.plan.depth:
            for inner in sorted(members.categories, key=_mixed):
                if inner not in self.visited:  # categories may go round in circles
                    self.visited.add(inner)
                    root.queue.append(_Category((*category.chain, inner)))
        outcome.pages += 1
        self.sink.progress(outcome)

    async def ask(self, question: Mapping[str, str]) -> tuple[object, Answer]:
        """Return the JSON that answers a question, and how it is to be taken, once the site is ready to answer."""
        patience, reason, tries = self.sink.patience, "", 0
        for _ in range(WAITS):
            await patience.rest()
            try:
                answer = await self.sink.client.get(self.api, params=dict(question))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason = f"did not answer ({type(error).__name__})"
            else:
                status, retry_after = answer.status_code, answer.headers.get("retry-after")
                reason = f"answered {status}"
                if asks_to_wait(status, retry_after):
                    patience.postpone(self.api, status, retry_after)
                    continue
                if answer.is_success:
                    content = self.json(answer)
                    said = self.site.read(content)
                    if not said.busy:
                        patience.welcome()
                        return content, said
                    reason = f"says: {said.error.rstrip('.')}"
                    patience.postpone(self.api, status, retry_after or str(math.ceil(said.seconds)))
                    continue
                if status < 500:
                    raise CrawlAbortedError(
                        f"{self.api} {reason}: {_beginning(answer)}. It is asked no further. Check the address, "
                        "and read what the site says about programs that visit it."
                    )
            tries += 1
            if tries == TRIES:
                break
            await asyncio.sleep(0.5 * tries)
        raise CrawlAbortedError(
            f"{self.api} {reason}, and the walk ended there. {self.sink.outcome.stored} photos were stored. "
            "Run the same command again later; it fetches none of them twice."
        )

    def json(self, answer: httpx.Response) -> object:
        """Return the JSON of an answer. Raises CrawlAbortedError if it is none."""
        try:
            content: object = answer.json()
        except (ValueError, RecursionError):
            raise CrawlAbortedError(
                f"{self.api} answers with something else than JSON: {_beginning(answer)}. Check that this is the "
                f"address of an API such as that of {self.site.address}."
            ) from None
        return content


def _beginning(answer: httpx.Response) -> str:
    """Return how the text of an answer begins."""
    return repr(" ".join(answer.text[:200].split())[:80])


def _mixed(text: str) -> int:
    """Return a number to sort by: in the order of the alphabet, only airlines in A would get below a limit."""
    return crc32(text.encode())


def _name(category: str) -> str:
    """Return the name of a category, which may come as an address or with the word Category: in front."""
    name = unquote(category.rpartition("Category:")[2] if "Category:" in category else category)
    name = " ".join(name.replace("_", " ").split())
    return name[:1].upper() + name[1:]
