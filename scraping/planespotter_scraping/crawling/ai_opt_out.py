"""AI opt-outs: honour a site's wish that its content is not used to train AI.

A catalog is a training set, so these wishes apply to a crawl: `noai` and `noimageai` (X-Robots-Tag, meta robots), TDM
reservations (header, meta element, /.well-known/tdmrep.json), `Content-Signal: ai-train=no` and `Content-Usage:
train-ai=n`, and a robots.txt that disallows crawlers which collect training data. They are honoured unless the user
holds permission, which the catalog then records.
"""

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx
from protego import Protego

from planespotter_scraping.crawling.bounded_body import BodyError, get_body
from planespotter_scraping.crawling.result import CrawlAbortedError
from planespotter_scraping.crawling.robots import USER_AGENT_TOKEN, RobotsRules

if TYPE_CHECKING:
    from playwright.async_api import Page

# Crawlers that collect training data, and tokens that only control training, in lower case.
TRAINING_CRAWLERS = frozenset(
    (
        "ai2bot",
        "ai2bot-dolma",
        "amazonbot",
        "anthropic-ai",
        "applebot-extended",
        "bytespider",
        "ccbot",
        "claudebot",
        "cohere-ai",
        "cohere-training-data-crawler",
        "diffbot",
        "facebookbot",
        "google-extended",
        "googleother-image",
        "gptbot",
        "icc-crawler",
        "imagesiftbot",
        "img2dataset",
        "laion-huggingface-processor",
        "laiondownloader",
        "meta-externalagent",
        "omgili",
        "omgilibot",
        "pangubot",
        "petalbot",
        "spawning-ai",
        "timpibot",
        "velenpublicwebcrawler",
        "webzio-extended",
    )
)
NO_AI = ("noai", "noimageai")
TRAINING_KEYS = ("ai-train", "train-ai", "train-genai", "ai-training")
NO = ("no", "n", "0", "false", "disallow")
SIGNAL = re.compile(r"\s*(content-signal|content-usage)\s*:\s*(?:(/\S*)\s+)?(.*)", re.IGNORECASE)
MAX_TDMREP_BYTES = 1 << 20
TDMREP_SECONDS = 10.0
META = """() => [...document.querySelectorAll("meta[name]")].map((node) => [node.name.toLowerCase(), node.content])"""


@dataclass
class AiOptOuts:
    """The opt-outs of a site.

    Attributes:
        permission: Who allowed the crawl, and when; "" if nobody did.
        overridden: Opt-outs that the permission overrides, as sentences.
    """

    permission: str = ""
    overridden: dict[str, None] = field(default_factory=dict)

    async def check_site(self, rules: RobotsRules, url: str, client: httpx.AsyncClient) -> None:
        """Check the site's robots.txt and tdmrep.json.

        Args:
            rules: Rules of the site.
            url: First page of the crawl.
            client: HTTP client.

        Raises:
            CrawlAbortedError: The site opts out, and there is no permission.
        """
        if reason := robots_opt_out(rules.text, url):
            self.stop(f"{rules.url} {reason}")
        tdmrep = urljoin(url, "/.well-known/tdmrep.json")
        try:
            response, body = await get_body(
                client, tdmrep, max_bytes=MAX_TDMREP_BYTES, seconds=TDMREP_SECONDS, idle_seconds=TDMREP_SECONDS
            )
        except (BodyError, httpx.HTTPError):
            return
        if response.is_success and tdmrep_reserves(body, url):
            self.stop(f"{tdmrep} reserves the rights to text and data mining")

    async def check_page(self, page: "Page", headers: Mapping[str, str]) -> None:
        """Check a page and the headers of its response. Raises CrawlAbortedError as `check_site` does."""
        reason = header_opt_out(headers) or meta_opt_out(await page.evaluate(META))
        if reason:
            self.stop(f"{page.url} {reason}")

    def image_reason(self, headers: Mapping[str, str]) -> str:
        """Return why an image may not be stored, as the end of a sentence; "" if it may."""
        reason = header_opt_out(headers)
        if reason and self.permission:
            self.overridden.setdefault(f"Its images: the response {reason}.")
            return ""
        return reason

    def stop(self, reason: str) -> None:
        """Raise CrawlAbortedError unless there is permission."""
        if self.permission:
            self.overridden.setdefault(f"{reason}.")
            return
        raise CrawlAbortedError(
            f"{reason}. A catalog is a training set, so the crawl stopped. Ask the site's operators; if they allow it, "
            'pass --permission "who allowed it, and when", which the catalog records with each photo.'
        )


def robots_opt_out(text: str, url: str) -> str:
    """Return how a robots.txt opts out of AI training, as the end of a sentence; "" if it does not.

    Args:
        text: Content of the robots.txt.
        url: URL that is about to be crawled.
    """
    signals: dict[tuple[bool, int], tuple[bool, str]] = {}
    agents: set[str] = set()
    named: set[str] = set()
    in_header = False
    for line in (line.partition("#")[0].strip() for line in text.splitlines()):
        key, _, value = (part.strip().lower() for part in line.partition(":"))
        if key == "user-agent":
            agents = agents if in_header else set()
            agents.add(value)
            named.add(value)
        in_header = key == "user-agent"
        match = SIGNAL.fullmatch(line)
        path = match[2] or "" if match else ""
        ours = USER_AGENT_TOKEN in agents
        if match and (ours or not agents or "*" in agents) and urlsplit(url).path.startswith(path):
            denies = _denies_training(match[3])
            if denies is not None:
                signals[ours, len(path)] = (denies, " ".join(line.split()))
    if signals:  # the most specific rule wins: ours before everyone's, then the longest path
        denies, line = signals[max(signals)]
        if denies:
            return f'does not allow the use of its content to train AI ("{line}")'
        return ""
    rules = Protego.parse(text)
    if USER_AGENT_TOKEN in named:
        return ""  # it addresses this crawler by name, and the page is allowed
    banned = sorted(name for name in named & TRAINING_CRAWLERS if not rules.can_fetch(url, name))
    return f"disallows crawlers that collect training data for AI ({', '.join(banned[:3])})" if banned else ""


def header_opt_out(headers: Mapping[str, str]) -> str:
    """Return how response headers opt out of AI training, as the end of a sentence; "" if they do not.

    Args:
        headers: Headers by name in lower case; httpx.Headers will do.
    """
    for directive in _robots_directives(headers.get("x-robots-tag", "")):
        if directive in NO_AI:
            return f"has the header X-Robots-Tag: {directive}"
    if headers.get("tdm-reservation", "").strip() == "1":
        return "has the header TDM-Reservation: 1"
    for name in ("content-signal", "content-usage"):
        if _denies_training(headers.get(name, "")):
            return f"has the header {name.title()}: {headers[name]}"
    return ""


def meta_opt_out(elements: Iterable[Iterable[str]]) -> str:
    """Return how meta elements opt out of AI training, as the end of a sentence; "" if they do not.

    Args:
        elements: Name, in lower case, and content of each element.
    """
    for name, content in elements:
        if name in ("robots", USER_AGENT_TOKEN):
            for directive in re.split(r"[,\s]+", content.lower()):
                if directive in NO_AI:
                    return f'has a meta element "{name}" with {directive}'
        if name == "tdm-reservation" and content.strip() == "1":
            return 'has a meta element "tdm-reservation" with 1'
    return ""


def tdmrep_reserves(body: bytes, url: str) -> bool:
    """Return whether a tdmrep.json reserves the rights for a URL; the longest location that matches counts."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        return False
    path = urlsplit(url).path or "/"
    matches: dict[int, bool] = {}
    for entry in entries if isinstance(entries, list) else []:
        location = str(entry.get("location", "")) if isinstance(entry, dict) else ""
        location = urlsplit(location).path if "://" in location else location
        if location and fnmatch.fnmatchcase(path, location.replace("[", "[[]").rstrip("$") + "*"):
            matches[len(location)] = str(entry.get("tdm-reservation")) == "1"
    return matches[max(matches)] if matches else False


def _robots_directives(value: str) -> Iterator[str]:
    """Yield the directives of an X-Robots-Tag that apply to everyone or to this crawler, in lower case."""
    applies = True
    for part in re.split(r"[,\n]", value.lower()):
        agent, colon, directive = (text.strip() for text in part.rpartition(":"))
        if colon and agent.startswith(("max-", "unavailable_after")):
            continue
        if colon:
            applies = agent in ("*", USER_AGENT_TOKEN)
        if applies:
            yield directive


def _denies_training(value: str) -> bool | None:
    """Return whether a Content-Signal or Content-Usage denies AI training; None if it does not mention it."""
    for part in re.split(r"[,;\s]+", value.lower()):
        key, _, answer = part.partition("=")
        if key in TRAINING_KEYS:
            return answer in NO
    return None
