"""Hosts: the host in an address, IP addresses, and what stays on this machine."""

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_of(address: str) -> str:
    """Return the host of HOST:PORT or of a gRPC target, without brackets; empty for a socket on this machine."""
    scheme, _, rest = address.partition(":")
    if scheme in ("unix", "unix-abstract", "vsock"):
        return ""
    if scheme in ("dns", "ipv4", "ipv6", "xds"):
        address = rest.rpartition("/")[2]
    return address.rpartition(":")[0].strip("[]")


def ip_address(host: str) -> IpAddress | None:
    """Return `host` as an IP address; None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(address: str) -> bool:
    """Return whether traffic to `address` stays on this machine."""
    host = host_of(address)
    ip = ip_address(host)
    return host in ("", "localhost") if ip is None else ip.is_loopback
