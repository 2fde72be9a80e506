"""Transport policy: photos and tokens leave the machine unencrypted only with --insecure."""

import ipaddress
import socket

from planespotter_server.settings import ServerError, Settings


def check_transport_policy(settings: Settings) -> None:
    """Check that the server listens beyond loopback only with TLS or --insecure, and that TLS is complete.

    Raises:
        ServerError: It does not; the text names the options.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ServerError(
            "TLS needs a certificate and its private key, but only one of them is set. Set --tls-cert and --tls-key."
        )
    if settings.tls_client_ca is not None and settings.tls_cert is None:
        raise ServerError("Client certificates need TLS. Set --tls-cert and --tls-key together with --tls-client-ca.")
    if settings.tls_cert is None and not settings.insecure and not _is_loopback(settings.host):
        exposed = "photos" if settings.tokens is None else "photos and tokens"
        raise ServerError(
            f"The address {settings.host} is reachable from other machines, and without TLS anyone in between can read "
            f"{exposed}. Set --tls-cert and --tls-key, or --insecure inside a container network or behind a proxy with "
            "TLS."
        )


def _is_loopback(host: str) -> bool:
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # listening fails, with a better message
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)
