"""Do what robots.txt says.

Before anything else is asked of a site, its rules must be known. Without them, no page is opened: not if the file
cannot be had, and not if the site will not show it to us. Only where it is said not to exist, there are no rules.
"""

from dataclasses import dataclass
from urllib.parse import urljoin

import httpx
from protego import Protego

from planespotter_scraping.crawling.result import CrawlAbortedError

US = "planespotter"  # the name by which a robots.txt may address this program


@dataclass(frozen=True)
class Rules:
    """What the robots.txt at `address` says; `unknown` is why that cannot be told, "" if it can."""

    address: str
    text: str = ""
    unknown: str = ""

    def forbids(self, url: str) -> str:
        """Return the line that keeps us away from `url`, "" if it may be read."""
        if Protego.parse(self.text).can_fetch(url, US):
            return ""
        # Each line by itself, as if it were meant for all: the longest one that matches is the one that counts.
        lines = [" ".join(line.partition("#")[0].split()) for line in self.text.splitlines()]
        alone = (line for line in lines if line.lower().startswith("disallow:"))
        matching = (line for line in alone if not Protego.parse(f"User-agent: *\n{line}").can_fetch(url, US))
        return max(matching, key=len, default="Disallow")

    @property
    def delay(self) -> float:
        """Seconds that we are to leave between two pages."""
        robots = Protego.parse(self.text)
        rate = robots.request_rate(US)
        return max(robots.crawl_delay(US) or 0.0, rate.seconds / rate.requests if rate and rate.requests else 0.0)


class Robots:
    """The rules of the hosts that a crawl meets, each asked for once."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.read: dict[str, Rules] = {}

    async def rules(self, url: str) -> Rules:
        """Return the rules of the host of `url`."""
        address = urljoin(url, "/robots.txt")
        if address not in self.read:
            self.read[address] = await _ask(self.client, address)
        return self.read[address]

    async def check(self, page: str) -> None:
        """Raise CrawlAbortedError unless the page at this address may be opened."""
        rules = await self.rules(page)
        if rules.unknown:
            raise CrawlAbortedError(
                f"No page is opened, since {rules.address} {rules.unknown}, and without it nobody knows what the "
                "site allows. Check the address and try again later, or ask those who run the site."
            )
        if line := rules.forbids(page):
            raise CrawlAbortedError(
                f"{page} is not opened, since {rules.address} asks programs to stay away from it ({line}). "
                "Ask those who run the site whether they allow it; what was stored before is safe."
            )

    async def forbids_image(self, url: str) -> str:
        """Return why the image at this address may not be fetched, "" if it may.

        Hosts that only hand out files often refuse to show a robots.txt that they do not have: as RFC 9309 has it,
        such an answer means no rules, and only a host that fails to answer is left alone.
        """
        rules = await self.rules(url)
        if rules.unknown and not rules.unknown.startswith("answered 4"):
            return f"{rules.address} {rules.unknown}"
        line = rules.forbids(url)
        return f"{rules.address} keeps programs away from {url} ({line})" if line else ""


async def _ask(client: httpx.AsyncClient, address: str) -> Rules:
    """Fetch the rules at `address`."""
    try:
        answer = await client.get(address)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Rules(address, unknown=f"did not answer ({type(error).__name__})")
    if answer.is_success:
        return Rules(address, text=answer.text)
    return Rules(address, unknown="" if answer.status_code in (404, 410) else f"answered {answer.status_code}")
