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
from planespotter_scraping.images import SUFFIXES, examine
from planespotter_scraping.labels import place
from planespotter_scraping.outcome import Outcome
from planespotter_scraping.sites import Listing

IMAGES_AT_ONCE = 4
TRIES = 3


@dataclass
class Keeper:
    """Puts the photos of one source into the catalog in `out`, each once.

    `constructors` are those whose aircraft to keep (None: all). `columns` go into each new row beside what the
    page says. `progress` is called after each photo and page.
    """

    source: str
    out: Path
    client: httpx.AsyncClient
    constructors: Collection[str] | None
    columns: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[Outcome], None] = lambda outcome: None
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self.known = catalog.photo_ids(self.out)
        wanted = self.constructors
        self.wanted = None if wanted is None else {place(name, "").constructor for name in wanted}

    async def keep_all(self, listing: Listing) -> None:
        """Keep the photos of one page, and count the page."""
        for name, reasons in listing.missing.items():
            self.outcome.missing.setdefault(name, Counter()).update(reasons)
        slots = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def keep(photo: Mapping[str, str]) -> None:
            async with slots:
                await self.keep(photo)

        await asyncio.gather(*(keep(photo) for photo in listing.photos))
        self.outcome.pages += 1
        self.progress(self.outcome)

    async def keep(self, photo: Mapping[str, str]) -> None:
        """Fetch the image of one photo and add it to the catalog, unless it is there or not wanted."""
        photo_id = f"{self.source}-{photo['photo_id']}"  # several sites may share a catalog
        constructor = place(photo["constructor"], photo["aircraft_type"]).constructor
        if photo_id in self.known:
            self.outcome.known += 1
        elif self.wanted is not None and constructor not in self.wanted:
            self.outcome.other_constructors[constructor or "not said"] += 1
        else:
            self.known.add(photo_id)
            try:
                data = await fetch(self.client, photo["image_url"])
                kind, width, height = examine(data)
            except ValueError as error:
                self.outcome.bad_images[photo_id] = str(error)
            else:
                row = {
                    **photo,
                    **self.columns,
                    "photo_id": photo_id,
                    "source": self.source,
                    "width": str(width),
                    "height": str(height),
                    "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                catalog.append(self.out, row, data, SUFFIXES[kind])
                self.outcome.stored += 1
        self.progress(self.outcome)


async def fetch(client: httpx.AsyncClient, url: str) -> bytes:
    """Return the image at `url`. Raises ValueError with a reason if it cannot be had, after a few tries."""
    for attempt in range(TRIES):
        await asyncio.sleep(0.5 * attempt)
        try:
            answer = await client.get(url)
        except httpx.HTTPError as error:
            reason = f"{url} did not answer ({type(error).__name__})"
        except httpx.InvalidURL:
            raise ValueError(f"{url!r} is not an address") from None
        else:
            if answer.is_success:
                return answer.content
            reason = f"{url} answered {answer.status_code}"
            if answer.status_code < 500:
                break  # asking again would bring the same answer
    raise ValueError(reason)
