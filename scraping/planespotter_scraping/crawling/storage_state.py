"""Storage state: reuse a login that the user made by hand, as saved by `playwright open --save-storage`."""

import json
from collections.abc import Iterable, Mapping
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from planespotter_scraping.crawling.result import ScrapeError

if TYPE_CHECKING:
    from playwright.async_api import StorageState

FIX = "Create it with `playwright open --save-storage FILE ADDRESS`: log in, then close the window."


def read_storage_state(path: Path) -> "StorageState":
    """Read a browser's storage state from a JSON file.

    Raises:
        ScrapeError: The file cannot be read or has another format.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScrapeError(f"The storage state {path} cannot be read: {error.strerror}. {FIX}") from None
    except ValueError:
        raise ScrapeError(f"The storage state {path} is not valid JSON. {FIX}") from None
    cookies, origins = (state.get(name) if isinstance(state, dict) else None for name in ("cookies", "origins"))
    if not isinstance(cookies, list) or not isinstance(origins, list):
        raise ScrapeError(f"The storage state {path} lacks the lists 'cookies' and 'origins'. {FIX}")
    for number, cookie in enumerate(cookies, start=1):
        values = [cookie.get(name) if isinstance(cookie, dict) else None for name in ("name", "value", "domain")]
        if not all(isinstance(value, str) for value in values):
            raise ScrapeError(f"Cookie {number} of the storage state {path} lacks a name, value or domain. {FIX}")
    return cast("StorageState", state)


def cookie_jar(cookies: Iterable[Mapping[str, Any]]) -> CookieJar:
    """Return a browser's cookies, as Playwright returns them, for an HTTP client with the same scope."""
    jar = CookieJar()
    for cookie in cookies:
        domain, expires = cookie["domain"], cookie.get("expires", -1)
        jar.set_cookie(
            Cookie(
                version=0,
                name=cookie["name"],
                value=cookie["value"],
                port=None,
                port_specified=False,
                domain=domain,
                domain_specified=domain.startswith("."),
                domain_initial_dot=domain.startswith("."),
                path=cookie.get("path", "/"),
                path_specified=True,
                secure=cookie.get("secure", False),
                expires=int(expires) if expires >= 0 else None,
                discard=expires < 0,
                comment=None,
                comment_url=None,
                rest={},
            )
        )
    return jar
