"""Keep what a page looked like when a crawl stopped at it: a picture, its HTML and a report.

What the visitor alone should know is left out: the values of cookies and of storage, wherever the page repeats them,
and whatever is named like a key (tokens, passwords, sessions).
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from planespotter_scraping.atomic_write import atomic_write_text

REMOVED = "[removed]"
SECRET = r"[\w:.-]*(?:token|csrf|xsrf|secret|session|passw|api[_-]?key|credential|signature|nonce|auth(?!or))[\w:.-]*"
ATTRIBUTE = re.compile(rf"(\s{SECRET}\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE)
PAIR = re.compile(rf"([\"']?\b{SECRET}[\"']?\s*[:=]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'&<>,;]+)", re.IGNORECASE)
NAMED = re.compile(rf"<(?:input|meta)\b[^>]*\b(?:name|id|property)\s*=\s*[\"']?{SECRET}[^>]*>", re.IGNORECASE)
VALUE = re.compile(r"(\b(?:value|content)\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE)
HIDDEN = re.compile(r"<input\b[^>]*\btype\s*=\s*[\"']?(?:hidden|password)\b[^>]*>", re.IGNORECASE)
SHORTEST = 8  # a value of fewer letters, such as "given", tells nothing, and would be found everywhere


async def save(
    page: Page,
    folder: Path,
    reason: str,
    *,
    what: str = "stopped",
    status: int | None = None,
    facts: Mapping[str, object] | None = None,
    lines: Iterable[str] = (),
) -> Path:
    """Write screenshot.png, page.html, report.json and report.txt of `page` into a new folder, and return that.

    The new folder is in `folder`/evidence and named for the time and `what`, a word or two. `reason` says in a
    sentence why the crawl stopped, `status` is what the server answered (by default what the browser says it did).
    `facts` go into report.json and `lines` into report.txt, below the address, the title and our user agent. A page
    that can no longer be asked leaves less.
    """
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%dT%H-%M-%S}-{re.sub(r'[^a-z0-9]+', '-', what.lower()).strip('-')}"
    place = _new_folder(folder / "evidence", name)
    secrets = await _secrets(page)
    html, title, agent, answered = "", "", "", 0
    try:
        html, title = await page.content(), await page.title()
        agent = str(await page.evaluate("navigator.userAgent"))
        answered = int(await page.evaluate("performance.getEntriesByType('navigation')[0]?.responseStatus ?? 0"))
    except PlaywrightError:
        pass
    try:
        await page.screenshot(path=place / "screenshot.png", timeout=10_000)
    except PlaywrightError:
        (place / "screenshot.png").unlink(missing_ok=True)
    head = {
        "reason": reason,
        "time": now.isoformat(timespec="seconds"),
        "address": page.url,
        "status": status or answered or None,
        "title": title,
        "user_agent": agent,
    }
    atomic_write_text(place / "page.html", without_secrets(html, secrets), errors="replace")
    report = json.dumps({**head, **(facts or {})}, ensure_ascii=False, indent=2)
    atomic_write_text(place / "report.json", _clean_json(report, secrets) + "\n")
    names = {"time": "When", "address": "Address", "status": "Answer", "title": "Title", "user_agent": "We are"}
    known = [f"{words + ':':10}{head[key]}" for key, words in names.items() if head[key] not in (None, "")]
    text = "\n".join([reason, "", *known, "", *lines])
    atomic_write_text(place / "report.txt", without_secrets(text.rstrip() + "\n", secrets))
    return place


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return HTML or other text without the values of `secrets`, and of what is named like one."""
    text = _without_values(text, secrets)
    for element in (HIDDEN, NAMED):
        text = element.sub(lambda found: VALUE.sub(rf'\1"{REMOVED}"', found[0]), text)
    return PAIR.sub(_emptied, ATTRIBUTE.sub(_emptied, text))


def _without_values(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without any of `secrets`, the longest first, since one may hold another."""
    for secret in sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return text


def _emptied(found: "re.Match[str]") -> str:
    """Return a name with its value removed, in the quotation marks that the value had."""
    mark = found[2][0] if found[2][0] in "\"'" else ""
    return f"{found[1]}{mark}{REMOVED}{mark}"


def _clean_json(text: str, secrets: Iterable[str]) -> str:
    """Return JSON whose strings hold no secrets."""

    def clean(value: object) -> object:
        if isinstance(value, str):
            return without_secrets(value, secrets)
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(clean(json.loads(text)), ensure_ascii=False, indent=2)


async def _secrets(page: Page) -> set[str]:
    """Return the values of the cookies and of the storage that the page can see."""
    try:
        found = {cookie.get("value", "") for cookie in await page.context.cookies()}
        stored = "() => [localStorage, sessionStorage].flatMap((of) => Object.values(of))"
        found.update(map(str, await page.evaluate(stored)))
    except PlaywrightError:  # a page without storage, or one that is gone
        found = set()
    return found


def _new_folder(parent: Path, name: str) -> Path:
    """Make a folder in `parent` that was not there, and return it."""
    for number in range(1, 1000):
        place = parent / (name if number == 1 else f"{name}-{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        return place
    raise FileExistsError(f"{parent / name} and its likes are all there")
