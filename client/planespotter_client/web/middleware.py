"""Who may talk to the page's server: its own page, opened under a name of this machine, and nobody else.

Any web site that is open in the same browser can send requests to this machine, and one whose name it lets point here
can even read the answers. So each request must name this machine as its host, and what changes anything must come from
the page itself.
"""

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}


class Guard:
    """Passes to `app` what the page itself asks, adds the headers that fence the page in, and refuses the rest.

    `host` is what the server listens on; if that is not this machine alone, `shared`, every address is a good host.
    """

    def __init__(self, app: ASGIApp, host: str, shared: bool) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        if shared:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        why = self._refusal(scope["method"], Headers(scope=scope))
        app = self._app if why is None else PlainTextResponse(f"{why}\n", status_code=403)
        await app(scope, receive, fenced)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        name = host_name(host)
        if not (name in self._names or (self._shared and _is_address(name))):
            return "This page is open under a name that is not this machine's. Open it by the address that was shown."
        if headers.get("sec-fetch-mode") == "navigate" and method in ("GET", "HEAD"):
            return None  # somebody follows a link, and no site can read what comes of it
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "Another site asked for this. Open the page itself."
        if method not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
            return "Only the page itself may send photos here. A program calls the server: see planespotter_client."
        return None


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_this_machine(addresses: Iterable[str]) -> bool:
    """Return whether all `addresses` are reached from this machine alone."""
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
