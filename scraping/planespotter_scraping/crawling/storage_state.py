"""Use a login that the user has made by hand: the state of a browser, as `playwright open --save-storage` saves it."""

import json
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, cast

from planespotter_scraping.crawling.result import ScrapeError

if TYPE_CHECKING:
    from playwright.async_api import StorageState

HOW = "`playwright open --save-storage FILE ADDRESS`, where you log in and close the window"


def read(path: Path) -> "StorageState":
    """Return the state of a browser in the JSON file at `path`. Raises ScrapeError if it is not one."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScrapeError(f"The storage state {path} cannot be read: {error.strerror}. Make one with {HOW}.") from None
    except ValueError:
        raise ScrapeError(f"{path} is not JSON, and so no storage state. Make one with {HOW}.") from None
    cookies, origins = (state.get(name) if isinstance(state, dict) else None for name in ("cookies", "origins"))
    if not isinstance(cookies, list) or not isinstance(origins, list):
        raise ScrapeError(
            f"{path} is JSON, but no storage state, which has the lists 'cookies' and 'origins'. Make one with {HOW}."
        )
    for number, cookie in enumerate(cookies, start=1):
        values = [cookie.get(name) if isinstance(cookie, dict) else None for name in ("name", "value", "domain")]
        if not all(isinstance(value, str) for value in values):
            raise ScrapeError(
                f"Cookie {number} of {path} has no name, value or domain, so it is none that a browser has saved. "
                f"Make the file with {HOW}."
            )
    return cast("StorageState", state)


def cookie_jar(state: "StorageState") -> CookieJar:
    """Return the cookies of a state for requests without a browser; each goes only where the browser would send it."""
    jar = CookieJar()
    for cookie in state["cookies"]:
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
