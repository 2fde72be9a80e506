"""Addresses of servers: HOST:PORT, a gRPC target or a URL; several separated by commas."""

import os
import re
from collections.abc import Sequence

from planespotter_client._errors import InvalidRequestError, truncated
from planespotter_client._hosts import ip_address

DEFAULT_PORT = 50051
DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
SERVER_VARIABLE = "PLANESPOTTER_SERVER"

# HOST:PORT, or a gRPC target: a scheme and what it needs.
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\],]+):(?P<port>[0-9]{1,5})")
_TARGET = re.compile(r"(?:dns|unix|unix-abstract|vsock|xds):\S+|(?:ipv4|ipv6):\S+:[0-9]{1,5}")
_TARGETS_WITH_COMMAS = ("ipv4:", "ipv6:")
_URL = re.compile(r"(?P<scheme>https?|grpcs?)://(?P<rest>[^/]+)/?", re.IGNORECASE)
_TLS_SCHEMES = ("https", "grpcs")


def split_addresses(address: str | Sequence[str] | None) -> list[str]:
    """Return the addresses in `address`: one, several separated by commas, or a sequence.

    None stands for the variable PLANESPOTTER_SERVER, or DEFAULT_ADDRESS without it.

    Raises:
        InvalidRequestError: There is no address.
        TypeError: `address` is not a string or a sequence of strings.
    """
    if address is None:
        address = default_server() or DEFAULT_ADDRESS
    if isinstance(address, str):
        is_single = address.startswith(_TARGETS_WITH_COMMAS)
        address = [address] if is_single else [part.strip() for part in address.split(",")]
    if not isinstance(address, Sequence) or not all(isinstance(part, str) for part in address):
        raise TypeError(f"address is invalid: {truncated(repr(address))}. Give HOST:PORT as a string, or a list.")
    if not address:
        raise InvalidRequestError("address is empty. Give HOST:PORT, or several.", reason="ADDRESS_MALFORMED")
    return list(address)


def parse_addresses(address: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the addresses in `address` as gRPC takes them; see `split_addresses` and `parse_address`."""
    return tuple(parse_address(part) for part in split_addresses(address))


def parse_address(address: str) -> str:
    """Return `address` as gRPC takes it: HOST:PORT or a target.

    A URL loses its scheme, a host without a port gets the default port, and an IPv6 address its brackets. gRPC itself
    accepts anything, adds port 443 where there is none, and reports only that nothing responds.

    Raises:
        InvalidRequestError: `address` is none of these.
    """
    url = _URL.fullmatch(address)
    bare = url["rest"] if url else address
    if not url and _TARGET.fullmatch(bare):
        return bare
    normalized = _with_port(bare)
    match = _HOST_AND_PORT.fullmatch(normalized)
    if match and 0 < int(match["port"]) < 2**16:
        return normalized
    raise InvalidRequestError(
        f"The address is invalid: {truncated(repr(address))}. Give HOST:PORT, such as {DEFAULT_ADDRESS} or "
        "[::1]:50051, or a gRPC target such as dns:///planes.example:50051 or unix:/run/planes.sock.",
        reason="ADDRESS_MALFORMED",
    )


def _with_port(address: str) -> str:
    """Return `address` with the default port if it has none; an IPv6 address gets brackets unless it is ambiguous."""
    host, _, port = address.rpartition(":")
    if ":" in host and not host.startswith("["):
        is_address = ip_address(address) is not None
        is_address_and_port = port.isdecimal() and ip_address(host) is not None
        if is_address and is_address_and_port:  # "fe80::1:5005"
            return address
        if is_address:
            return f"[{address}]:{DEFAULT_PORT}"
        return f"[{host}]:{port}" if is_address_and_port else address
    if address and (":" not in address or address.endswith("]")):
        return f"{address}:{DEFAULT_PORT}"
    return address


def names_tls(address: str | Sequence[str] | None) -> bool:
    """Return whether an address in `address` is a URL that asks for TLS, https:// or grpcs://."""
    urls = map(_URL.fullmatch, split_addresses(address))
    return any(url is not None and url["scheme"].lower() in _TLS_SCHEMES for url in urls)


def default_server() -> str | None:
    """Return the server that the variable PLANESPOTTER_SERVER names; None without it."""
    return os.environ.get(SERVER_VARIABLE, "").strip() or None


def is_single_server(address: str) -> bool:
    """Return whether `address` is one server: then even an unhealthy one is better than no call at all."""
    match = _HOST_AND_PORT.fullmatch(address)
    if not match:
        return address.startswith(("unix:", "unix-abstract:", "vsock:"))
    return match["host"] == "localhost" or ip_address(match["host"].strip("[]")) is not None
