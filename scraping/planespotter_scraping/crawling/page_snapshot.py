"""Page snapshot: save screenshot, HTML and a report of the page at which a crawl stopped, with secrets redacted.

Redacted are the values of cookies and web storage wherever the page repeats them, and all values whose name looks like
a secret (tokens, passwords, sessions).
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from planespotter_scraping.atomic_write import atomic_write_text

REDACTED = "[redacted]"
SECRET = r"[\w:.-]*(?:token|csrf|xsrf|secret|session|passw|api[_-]?key|credential|signature|nonce|auth(?!or))[\w:.-]*"
ATTRIBUTE = re.compile(rf"(\s{SECRET}\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE)
PAIR = re.compile(rf"([\"']?\b{SECRET}[\"']?\s*[:=]\s*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'&<>,;]+)", re.IGNORECASE)
NAMED = re.compile(rf"<(?:input|meta)\b[^>]*\b(?:name|id|property)\s*=\s*[\"']?{SECRET}[^>]*>", re.IGNORECASE)
VALUE = re.compile(r"(\b(?:value|content)\s*=\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE)
HIDDEN = re.compile(r"<input\b[^>]*\btype\s*=\s*[\"']?(?:hidden|password)\b[^>]*>", re.IGNORECASE)
MIN_SECRET_LENGTH = 8  # shorter values, such as "given", are hardly secret and occur everywhere


async def save(
    page: Page,
    folder: Path,
    reason: str,
    *,
    what: str = "stopped",
    status: int | None = None,
    data: Mapping[str, object] | None = None,
    lines: Iterable[str] = (),
) -> Path:
    """Write screenshot.png, page.html, report.json and report.txt of a page into a new folder.

    If the page or browser is closed, some files are empty or missing.

    Args:
        page: The page.
        folder: Folder of the catalog; the new folder is `folder`/snapshots/TIME-WHAT.
        reason: Why the crawl stopped, as a sentence.
        what: The same in a word or two, for the folder's name.
        status: HTTP status of the response. Default: the one that the browser reports.
        data: Additional keys of report.json.
        lines: Additional lines of report.txt.

    Returns:
        The new folder.
    """
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%dT%H-%M-%S}-{re.sub(r'[^a-z0-9]+', '-', what.lower()).strip('-')}"
    snapshot = _new_folder(folder / "snapshots", name)
    secrets = await _secrets(page)
    html, title, agent, reported = "", "", "", 0
    try:
        html, title = await page.content(), await page.title()
        agent = str(await page.evaluate("navigator.userAgent"))
        reported = int(await page.evaluate("performance.getEntriesByType('navigation')[0]?.responseStatus ?? 0"))
    except PlaywrightError:
        pass
    try:
        await page.screenshot(path=snapshot / "screenshot.png", timeout=10_000)
    except PlaywrightError:
        (snapshot / "screenshot.png").unlink(missing_ok=True)
    head = {
        "reason": reason,
        "time": now.isoformat(timespec="seconds"),
        "url": page.url,
        "status": status or reported or None,
        "title": title,
        "user_agent": agent,
    }
    atomic_write_text(snapshot / "page.html", redact(html, secrets), errors="replace")
    report = json.dumps({**head, **(data or {})}, ensure_ascii=False, indent=2)
    atomic_write_text(snapshot / "report.json", _redact_json(report, secrets) + "\n")
    names = {"time": "Time", "url": "URL", "status": "Status", "title": "Title", "user_agent": "User agent"}
    known = [f"{label + ':':13}{head[key]}" for key, label in names.items() if head[key] not in (None, "")]
    text = "\n".join([reason, "", *known, "", *lines])
    atomic_write_text(snapshot / "report.txt", redact(text.rstrip() + "\n", secrets))
    return snapshot


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return HTML or other text with `secrets`, and all values whose name looks like a secret, redacted."""
    text = _redact_values(text, secrets)
    for element in (HIDDEN, NAMED):
        text = element.sub(lambda match: VALUE.sub(rf'\1"{REDACTED}"', match[0]), text)
    return PAIR.sub(_redact_pair, ATTRIBUTE.sub(_redact_pair, text))


def _redact_values(text: str, secrets: Iterable[str]) -> str:
    """Redact each of `secrets`, the longest first, since one may contain another."""
    for secret in sorted({secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def _redact_pair(match: "re.Match[str]") -> str:
    """Redact the value of a name-value pair, and keep its quotation marks."""
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{REDACTED}{quote}"


def _redact_json(text: str, secrets: Iterable[str]) -> str:
    """Redact the strings of a JSON document."""

    def clean(value: object) -> object:
        if isinstance(value, str):
            return redact(value, secrets)
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(clean(json.loads(text)), ensure_ascii=False, indent=2)


async def _secrets(page: Page) -> set[str]:
    """Return the values of the cookies and of the web storage that the page can access."""
    try:
        values = {cookie.get("value", "") for cookie in await page.context.cookies()}
        storage = "() => [localStorage, sessionStorage].flatMap((of) => Object.values(of))"
        values.update(map(str, await page.evaluate(storage)))
    except PlaywrightError:  # a page without web storage, or a closed page
        values = set()
    return values


def _new_folder(parent: Path, name: str) -> Path:
    """Create a folder with a unique name in `parent`."""
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent / name} and 998 numbered folders of this name exist")
