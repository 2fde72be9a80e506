"""Authentication: identify the client of a call, by bearer token or by address, with its individual limits."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planespotter_server.auth.rate_limit import TokenBucket
from planespotter_server.auth.tokens import Token, TokenFile
from planespotter_server.rejections import RequestRejected


@dataclass(frozen=True)
class Client:
    """The client of a call.

    Args:
        key: The same for all calls of one client; never secret.
        max_calls: Individual limit of concurrent calls; None for the common one.
        rate_limit: Individual rate limit; None for none.
        is_authorized: Returns whether its token is still valid.
    """

    key: str = ""
    max_calls: int | None = None
    rate_limit: TokenBucket | None = None
    is_authorized: Callable[[], bool] = lambda: True

    def check_token(self) -> None:
        """Check that the token has not been revoked during the call.

        Raises:
            RequestRejected: TOKEN_INVALID.
        """
        if not self.is_authorized():
            raise _token_invalid()

    def take_photo(self) -> None:
        """Count a photo of a unary request against the rate limit.

        Raises:
            RequestRejected: RATE_LIMITED.
        """
        self.check_rate()
        if self.rate_limit is not None:
            self.rate_limit.take()

    def check_rate(self) -> None:
        """Check that a photo is within the rate limit, without counting it.

        Raises:
            RequestRejected: RATE_LIMITED.
        """
        if self.rate_limit is None:
            return
        delay = self.rate_limit.delay()
        if delay > 0:
            rate = f"{self.rate_limit.photos_per_second:g}"
            raise RequestRejected(
                "RATE_LIMITED",
                f"The rate limit of this token is exceeded: {rate} photos per second. Retry in {delay:.2g} s, or send "
                "the photos over one stream, which slows down by itself.",
                metadata={"photos_per_second": rate},
                retry_after=delay,
            )


class Authenticator:
    """Identifies clients.

    Args:
        tokens: Valid tokens, of which every call must carry one; None to identify clients by address.
        processes: Number of processes among which the limits of a token are divided.
    """

    def __init__(self, tokens: TokenFile | None = None, processes: int = 1) -> None:
        self._tokens = tokens
        self._processes = processes
        self._rate_limits: dict[str, TokenBucket] = {}

    def authenticate(self, metadata: Mapping[str, str | bytes], peer: str) -> Client:
        """Identify the client of a call.

        Args:
            metadata: Metadata of the call.
            peer: Address that the call comes from, as gRPC writes it.

        Raises:
            RequestRejected: TOKEN_MISSING or TOKEN_INVALID.
        """
        if self._tokens is None:
            return Client(client_address(peer))
        scheme, _, secret = str(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise RequestRejected(
                "TOKEN_MISSING",
                "The call has no token. Pass --token-file, in Python token=, in both the variable PLANESPOTTER_TOKEN, "
                "otherwise the metadata authorization: Bearer TOKEN.",
            )
        tokens, token = self._tokens, self._tokens.find(secret.strip())
        if token is None:
            raise _token_invalid()
        return Client(
            f"token:{token.name}",
            None if token.max_calls is None else math.ceil(token.max_calls / self._processes),
            self._rate_limit(token),
            lambda: tokens.find_hash(token.hash) is not None,
        )

    def _rate_limit(self, token: Token) -> TokenBucket | None:
        if token.photos_per_second is None:
            return None
        rate = token.photos_per_second / self._processes
        bucket = self._rate_limits.get(token.name)
        if bucket is None or bucket.photos_per_second != rate:
            bucket = self._rate_limits[token.name] = TokenBucket(rate)
        return bucket


def _token_invalid() -> RequestRejected:
    return RequestRejected(
        "TOKEN_INVALID", "The token is unknown, revoked or of another server. Ask the operator for a new one."
    )


def client_address(peer: str) -> str:
    """Return the address of a gRPC peer without its port: "ipv4:10.0.0.7" for "ipv4:10.0.0.7:51234"."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
