"""Who calls, by token or else by address, and what each may do."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planespotter_server.auth.tokens import Token, Tokens
from planespotter_server.rejections import RequestRejected


class Pace:
    """Photos of one client: `per_second`, and at most one second's worth at once. `clock` returns seconds."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._most = max(1.0, per_second)
        self._left = self._most
        self._clock = clock
        self._filled = clock()

    def delay(self) -> float:
        """Return in how many seconds the next photo may come; 0 for now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._filled) * self.per_second)
        self._filled = now
        return max(0.0, (1 - self._left) / self.per_second)

    async def until_next(self) -> None:
        """Return when the next photo may come."""
        while (delay := self.delay()) > 0:  # noqa: ASYNC110  (others of the client may have been quicker)
            await asyncio.sleep(delay)

    def spend(self) -> None:
        """Take note of a photo, whether its time had come or not: the next ones then wait the longer."""
        self._left -= 1


@dataclass(frozen=True)
class Client:
    """Who calls. `max_calls` and `pace` are its own limits, None where it has none.

    `key` is the same for all calls of one client and never secret; `is_known` tells whether its token still stands.
    """

    key: str = ""
    max_calls: int | None = None
    pace: Pace | None = None
    is_known: Callable[[], bool] = lambda: True

    def check(self) -> None:
        """Raise RequestRejected TOKEN_INVALID if its token has been revoked since the call began."""
        if not self.is_known():
            raise _unknown()

    def take_photo(self) -> None:
        """Count a photo of a unary request or a batch. Raises RequestRejected RATE_LIMITED if it comes too soon."""
        if self.pace is None:
            return
        delay = self.pace.delay()
        if delay > 0:
            raise RequestRejected(
                "RATE_LIMITED",
                f"The token of this client is good for {self.pace.per_second:g} photos per second. Try again in "
                f"{delay:.2g} s, or send the photos over one stream, which takes them no faster than that.",
                metadata={"photos_per_second": f"{self.pace.per_second:g}"},
                retry_after=delay,
            )
        self.pace.spend()


class Clients:
    """Tells who calls. With `tokens` every call must bring one; without, a client is the address it comes from."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens
        self._paces: dict[str, Pace] = {}

    def identify(self, metadata: Mapping[str, str | bytes], peer: str) -> Client:
        """Return who makes a call with `metadata` from `peer`. Raises RequestRejected TOKEN_MISSING, TOKEN_INVALID."""
        if self._tokens is None:
            return Client(client_address(peer))
        scheme, _, secret = str(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise RequestRejected(
                "TOKEN_MISSING",
                "This server answers only callers with a token. Give it with --token-file, in Python with token=, "
                "in both with the variable PLANESPOTTER_TOKEN, else as metadata: authorization: Bearer TOKEN.",
            )
        token = self._tokens.find(secret.strip())
        if token is None:
            raise _unknown()
        known, hash_ = self._tokens, token.hash
        return Client(f"token:{token.name}", token.max_calls, self._pace(token), lambda: known.still(hash_) is not None)

    def _pace(self, token: Token) -> Pace | None:
        if token.photos_per_second is None:
            return None
        pace = self._paces.get(token.name)
        if pace is None or pace.per_second != token.photos_per_second:
            pace = self._paces[token.name] = Pace(token.photos_per_second)
        return pace


def _unknown() -> RequestRejected:
    return RequestRejected(
        "TOKEN_INVALID",
        "This server does not know the token: it was mistyped, revoked or made for another. Ask for a new one.",
    )


def client_address(peer: str) -> str:
    """Return the address of a gRPC peer without its port: "ipv4:10.0.0.7" for "ipv4:10.0.0.7:51234"."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
