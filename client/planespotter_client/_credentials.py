"""How a client shows who it is and makes sure of the server: TLS, certificates and a token."""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from planespotter_client._errors import InvalidRequestError

TOKEN_VARIABLE = "PLANESPOTTER_TOKEN"

# What may stand behind "Bearer" in a header: RFC 6750.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Security:
    """What a connection needs: `credentials`, None for none; `metadata`, which goes with each call; channel options."""

    credentials: grpc.ChannelCredentials | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        over = "without TLS" if self.credentials is None else "over TLS"
        return f"{over}, with a token" if self.metadata else over


def security(
    *addresses: str,
    token: str | None = None,
    tls: bool = False,
    tls_ca: File | None = None,
    tls_cert: File | None = None,
    tls_key: File | None = None,
    tls_name: str | None = None,
    insecure: bool = False,
) -> Security:
    """Return what connections to `addresses` need; see PlaneSpotter for the parameters. Raises InvalidRequestError."""
    if (tls_cert is None) != (tls_key is None):
        raise InvalidRequestError(
            "A certificate of the client goes with its private key, but only one of them is given: give tls_cert and "
            "tls_key (--tls-cert, --tls-key).",
            reason="TLS_INCOMPLETE",
        )
    encrypted = tls or tls_ca is not None or tls_cert is not None
    if tls_name and not encrypted:
        raise InvalidRequestError(
            f"{tls_name!r} is to stand in the server's certificate, but without TLS a server shows none. Give tls or "
            "tls_ca too (--tls, --tls-ca).",
            reason="TLS_INCOMPLETE",
        )
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    token = token.strip()
    if token and not _TOKEN.fullmatch(token):
        raise InvalidRequestError(
            "The token holds what no token has, such as a space or a line break in the middle. Give the line that "
            "`planespotter token new` has shown.",
            reason="TOKEN_MALFORMED",
        )
    exposed = [address for address in addresses if not is_loopback(address)]
    if token and not encrypted and not insecure and exposed:
        raise InvalidRequestError(
            f"The token would go to {exposed[0]} without TLS, and anybody in between could read it. Use TLS (tls=True, "
            "--tls; or tls_ca, --tls-ca, with the certificate of the server's authority), or insecure=True "
            "(--insecure) if nobody can be in between.",
            reason="TOKEN_NOT_ENCRYPTED",
        )
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    if not encrypted:
        return Security(None, metadata)
    root, key, certificate = (None if file is None else _read(Path(file)) for file in (tls_ca, tls_key, tls_cert))
    options = (("grpc.ssl_target_name_override", tls_name),) if tls_name else ()
    return Security(grpc.ssl_channel_credentials(root, key, certificate), metadata, options)


def is_loopback(address: str) -> bool:
    """Return whether what is sent to `address` stays on this machine."""
    scheme, _, rest = address.partition(":")
    if scheme in ("unix", "unix-abstract", "vsock"):
        return True
    if scheme in ("dns", "ipv4", "ipv6", "xds"):
        address = rest.rpartition("/")[2]
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(
            f"The file {path} for TLS cannot be read: {error.strerror}.", reason="TLS_FILE_UNREADABLE"
        ) from error
    if b"-----BEGIN " not in content:
        raise InvalidRequestError(
            f"The file {path} for TLS is not PEM, which begins with -----BEGIN. Convert it, or name another.",
            reason="TLS_FILE_UNREADABLE",
        )
    return content
