"""HTTP proxies: which proxy a channel to an address uses, and which addresses bypass it.

gRPC takes the proxy from the variables grpc_proxy, https_proxy and http_proxy, in lower case, and uses it even for
addresses on this machine. It reads exceptions from no_grpc_proxy and no_proxy only. In this client, loopback always
bypasses the proxy, and NO_PROXY counts too, as it does for curl and Python.
"""

import ipaddress
import os
import urllib.parse
from typing import NamedTuple

from planespotter_client._hosts import IpAddress, host_of, ip_address, is_loopback

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTION_VARIABLES = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


class Proxy(NamedTuple):
    """A proxy, "host:port" without credentials, and the environment variable that names it."""

    address: str
    variable: str


def bypasses_proxy(address: str) -> bool:
    """Return whether calls to `address` never go through a proxy: on this machine, or excepted by NO_PROXY."""
    if is_loopback(address):
        return True
    host = host_of(address)
    exceptions = filter(None, map(os.environ.get, EXCEPTION_VARIABLES))
    return any(_excepts(each, host) for each in exceptions)


def _excepts(exceptions: str, host: str) -> bool:
    """Return whether `exceptions`, a list as in NO_PROXY, has `host`: by name, domain, address or network (CIDR)."""
    import urllib.request  # here, as http.client and email would be a tenth of the import time of the client

    if urllib.request.proxy_bypass_environment(host, {"no": exceptions}):  # type: ignore[attr-defined]
        return True
    address = ip_address(host)
    if address is None:
        return False
    return any(_in_network(address, entry.strip()) for entry in exceptions.split(",") if "/" in entry)


def _in_network(address: IpAddress, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def proxy_of(address: str) -> Proxy | None:
    """Return the proxy that gRPC uses for `address`; None if it connects directly."""
    variable = next((name for name in PROXY_VARIABLES if os.environ.get(name)), None)
    if variable is None or bypasses_proxy(address):
        return None
    return Proxy(urllib.parse.urlsplit(os.environ[variable]).netloc.rpartition("@")[2], variable)
