"""Refuse to say photos and tokens out loud by accident."""

import ipaddress
import socket

from planespotter_server.settings import ServerError, Settings


def check_exposure(settings: Settings) -> None:
    """Raise ServerError if others could listen in though nobody said that they may, or if half of TLS is missing."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ServerError(
            "TLS needs a certificate and its private key, but only one of them is set. Give --tls-cert and --tls-key."
        )
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise ServerError(
            "The certificates of clients are looked at only under TLS. Give --tls-cert and --tls-key with "
            "--tls-client-ca."
        )
    if settings.tls_cert is None and not settings.insecure and not _is_loopback(settings.host):
        what = "photos" if settings.tokens is None else "photos and tokens"
        raise ServerError(
            f"On {settings.host} the server can be reached from other machines, and without TLS anybody in between can "
            f"read {what}. Give --tls-cert and --tls-key; or --insecure if nobody can be in between, as inside one "
            "container network or behind a proxy with TLS."
        )


def _is_loopback(host: str) -> bool:
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # it cannot be listened on, so that is what must be said
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
