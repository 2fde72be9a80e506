"""robots.txt: fetch the rules of each host once, and obey them (RFC 9309).

No page is opened before the site's rules are known. If robots.txt is unavailable for a reason other than 404 or 410, no
page is opened at all. The same holds for one that is larger than MAX_BYTES or slower than TIMEOUT_SECONDS: a truncated
file may lack the rule that applies.
"""

import codecs
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin

import httpx
from protego import Protego

from planespotter_scraping.crawling.bounded_body import BodyError, get_body
from planespotter_scraping.crawling.result import CrawlAbortedError

USER_AGENT_TOKEN = "planespotter"  # the name by which a robots.txt may address this program

MAX_BYTES = 4 << 20  # RFC 9309 requires at least 500 KiB
TIMEOUT_SECONDS = 30.0  # for the whole file
BOMS = (  # UTF-32 first: its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one host.

    Attributes:
        url: URL of the robots.txt.
        text: Its content, "" if the file does not exist.
        unavailable: Why the rules are unknown, as the end of a sentence; "" if they are known.
    """

    url: str
    text: str = ""
    unavailable: str = ""

    def disallow_rule(self, url: str) -> str:
        """Return the Disallow line that applies to `url`, "" if it may be fetched."""
        if self._parser.can_fetch(url, USER_AGENT_TOKEN):
            return ""
        # Try each line alone, as if it applied to everyone. The longest match wins, as in RFC 9309.
        lines = [" ".join(line.partition("#")[0].split()) for line in self.text.splitlines()]
        rules = (line for line in lines if line.lower().startswith("disallow:"))
        matching = (
            line for line in rules if not Protego.parse(f"User-agent: *\n{line}").can_fetch(url, USER_AGENT_TOKEN)
        )
        return max(matching, key=len, default="Disallow")

    @cached_property
    def _parser(self) -> Protego:
        """The parsed rules."""
        return Protego.parse(self.text)

    @property
    def crawl_delay(self) -> float:
        """Minimum seconds between two pages: the larger of Crawl-delay and Request-rate, 0 without either."""
        robots = self._parser
        rate = robots.request_rate(USER_AGENT_TOKEN)
        delay = robots.crawl_delay(USER_AGENT_TOKEN) or 0.0
        return max(delay, rate.seconds / rate.requests if rate and rate.requests else 0.0)


class Robots:
    """The rules of all hosts that a crawl visits, each fetched once."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self._cache: dict[str, RobotsRules] = {}

    async def rules(self, url: str) -> RobotsRules:
        """Return the rules of the host of `url`."""
        robots_url = urljoin(url, "/robots.txt")
        if robots_url not in self._cache:
            self._cache[robots_url] = await _fetch_rules(self.client, robots_url)
        return self._cache[robots_url]

    async def check_page(self, url: str) -> None:
        """Check that a page may be opened.

        Raises:
            CrawlAbortedError: The rules disallow the page or are unavailable.
        """
        rules = await self.rules(url)
        if rules.unavailable:
            raise CrawlAbortedError(
                f"{rules.url} {rules.unavailable}, so what the site allows is unknown and no page was opened. "
                "Check the URL and try again later, or ask the site's operators."
            )
        if rule := rules.disallow_rule(url):
            raise CrawlAbortedError(
                f"{url} was not opened: {rules.url} disallows it ({rule}). Stored photos are safe. "
                "Ask the site's operators for permission."
            )

    async def image_disallowed(self, url: str) -> str:
        """Return why the image at `url` may not be fetched, "" if it may.

        Image hosts often answer 4xx for a robots.txt that they do not have. As in RFC 9309, that means no rules; only
        an unreachable host or a server error disallows the image.
        """
        rules = await self.rules(url)
        if rules.unavailable and not rules.unavailable.startswith("responded with 4"):
            return f"{rules.url} {rules.unavailable}"
        rule = rules.disallow_rule(url)
        return f"{rules.url} disallows {url} ({rule})" if rule else ""


async def _fetch_rules(client: httpx.AsyncClient, url: str) -> RobotsRules:
    """Fetch the rules at `url`."""
    try:
        response, body = await get_body(
            client, url, max_bytes=MAX_BYTES, seconds=TIMEOUT_SECONDS, idle_seconds=TIMEOUT_SECONDS
        )
    except BodyError as error:
        return RobotsRules(url, unavailable=str(error))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return RobotsRules(url, unavailable=f"did not respond ({type(error).__name__})")
    if response.is_success:
        return RobotsRules(url, text=decode_robots(body))
    missing = response.status_code in (404, 410)
    return RobotsRules(url, unavailable="" if missing else f"responded with {response.status_code}")


def decode_robots(body: bytes) -> str:
    """Decode a robots.txt: UTF-8, or UTF-16 or UTF-32 with or without a byte order mark. Marks are removed."""
    encoding = next((name for mark, name in BOMS if body.startswith(mark)), "utf-8")
    if encoding == "utf-8" and body.count(0) * 3 > len(body):  # ASCII as UTF-16: every other byte is zero
        encoding = "utf-16-be" if body[0] == 0 else "utf-16-le"
    return body.decode(encoding, errors="replace").replace("\ufeff", "")
