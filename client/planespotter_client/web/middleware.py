"""Security middleware: only the page itself, opened under a name of this machine, may call its server.

Any site that is open in the same browser can send requests to this machine, and a site whose name it lets point here
(DNS rebinding) can even read the responses. So each request must name this machine in its Host header, and a request
that changes anything must come from the page's origin, with a header that a cross-site form cannot set (CSRF).
"""

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planespotter_client._hosts import ip_address

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
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
# The header that requests of the page carry: a cross-site request with it needs a preflight, which fails.
CSRF_HEADER, CSRF_VALUE = "x-requested-with", "planespotter"


class SecurityMiddleware:
    """Passes requests of the page to `app`, rejects all others, and adds security headers to each response.

    Args:
        app: The application.
        host: Address that the server listens on.
        allow_remote: Whether other machines can reach it; then any IP address is a valid host.
    """

    def __init__(self, app: ASGIApp, host: str, allow_remote: bool) -> None:
        self._app = app
        self._host_names = {"localhost", "127.0.0.1", "::1", host.lower()}
        if allow_remote:
            self._host_names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._allow_remote = allow_remote

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        rejection = self._rejection(scope["method"], Headers(scope=scope))
        app = self._app if rejection is None else PlainTextResponse(f"{rejection}\n", status_code=403)
        await app(scope, receive, send_with_headers)

    def _rejection(self, method: str, headers: Headers) -> str | None:
        """Return why a request is rejected; None if it is not."""
        host = headers.get("host", "")
        name = host_name(host)
        if not (name in self._host_names or (self._allow_remote and ip_address(name) is not None)):
            return "The host name in the URL is not this machine's. Open the page at the address that was printed."
        is_read = method in ("GET", "HEAD")
        if headers.get("sec-fetch-mode") == "navigate" and is_read:
            return None  # a link from another site, which cannot read the response
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "The request comes from another site. Open the page itself."
        if not is_read and (headers.get("origin") != f"http://{host}" or headers.get(CSRF_HEADER) != CSRF_VALUE):
            return "Only the page itself may send photos here. In a program, use planespotter_client."
        return None


def host_name(header: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def is_loopback(addresses: Iterable[str]) -> bool:
    """Return whether all `addresses` are loopback addresses."""
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
