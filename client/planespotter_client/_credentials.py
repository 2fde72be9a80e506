"""Credentials: TLS, client certificates and bearer tokens."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from planespotter_client._errors import InvalidRequestError
from planespotter_client._hosts import is_loopback

TOKEN_VARIABLE = "PLANESPOTTER_TOKEN"

# What may follow "Bearer" in a header: RFC 6750.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

File = str | os.PathLike[str]


@dataclass(frozen=True)
class Security:
    """The security of a connection: TLS `credentials` (None: no TLS), metadata of each call, and channel options."""

    credentials: grpc.ChannelCredentials | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        tls = "without TLS" if self.credentials is None else "over TLS"
        return f"{tls}, with a token" if self.metadata else tls


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
    """Validate the security parameters of PlaneSpotter, and return what connections to `addresses` need.

    Args:
        addresses: HOST:PORT or gRPC target of each server.
        token: Bearer token; surrounding whitespace is ignored. None for the variable PLANESPOTTER_TOKEN, "" for none.
        tls: Use TLS and trust the authorities that browsers trust. Implied by `tls_ca` and `tls_cert`.
        tls_ca: PEM file with the certificate authorities to trust instead.
        tls_cert: PEM file with the client's certificate; needs `tls_key`.
        tls_key: PEM file with the private key of `tls_cert`.
        tls_name: Name to expect in the server's certificate, if it differs from the address; needs TLS.
        insecure: Allow sending the token to another machine without TLS.

    Raises:
        InvalidRequestError: The parameters contradict each other or would send a token in plain text, the token is
            malformed, or a file cannot be read or is not PEM.
    """
    if (tls_cert is None) != (tls_key is None):
        raise InvalidRequestError(
            "A client certificate needs its private key, and vice versa. Give tls_cert and tls_key (--tls-cert, "
            "--tls-key).",
            reason="TLS_INCOMPLETE",
        )
    encrypted = tls or tls_ca is not None or tls_cert is not None
    if tls_name and not encrypted:
        raise InvalidRequestError(
            f"tls_name needs TLS: {tls_name!r}. Give tls or tls_ca too (--tls, --tls-ca).",
            reason="TLS_INCOMPLETE",
        )
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    token = token.strip()
    if token and not _TOKEN.fullmatch(token):
        raise InvalidRequestError(
            "The token is malformed: it has a space, a line break or another invalid character. Give the line that "
            "`planespotter token new` printed.",
            reason="TOKEN_MALFORMED",
        )
    exposed = [address for address in addresses if not is_loopback(address)]
    if token and not encrypted and not insecure and exposed:
        raise InvalidRequestError(
            f"The token would be sent to {exposed[0]} in plain text. Use TLS (tls=True, --tls; or tls_ca, --tls-ca, "
            "with the certificate of the server's authority), or insecure=True (--insecure) on a trusted network.",
            reason="TOKEN_NOT_ENCRYPTED",
        )
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    if not encrypted:
        return Security(None, metadata)
    root, certificate = (_read_pem(file, "CERTIFICATE", "certificate") for file in (tls_ca, tls_cert))
    key = _read_pem(tls_key, "PRIVATE KEY", "private key")
    options = (("grpc.ssl_target_name_override", tls_name),) if tls_name else ()
    return Security(grpc.ssl_channel_credentials(root, key, certificate), metadata, options)


def _read_pem(file: File | None, label: str, kind: str) -> bytes | None:
    """Return the content of a PEM file; None for none.

    Args:
        file: Path of the file.
        label: End of the label that a block in it must have, such as CERTIFICATE: without one, gRPC fails later and
            gives no reason.
        kind: What such a block is, for errors.

    Raises:
        InvalidRequestError: The file cannot be read, or has no such block.
    """
    if file is None:
        return None
    path = Path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(
            f"The TLS file {path} cannot be read: {error.strerror}.", reason="TLS_FILE_UNREADABLE"
        ) from error
    if b"-----BEGIN " not in content:
        raise InvalidRequestError(
            f"The TLS file {path} is not PEM, which starts with -----BEGIN. Convert it, or give another file.",
            reason="TLS_FILE_UNREADABLE",
        )
    if not re.search(rb"-----BEGIN [A-Z0-9 ]*" + label.encode() + rb"-----", content):
        labels = sorted({each.decode() for each in re.findall(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----", content)})
        raise InvalidRequestError(
            f"The TLS file {path} holds no {kind}, but {', '.join(labels) or 'other data'}. Give the PEM file of the "
            f"{kind}.",
            reason="TLS_FILE_UNREADABLE",
        )
    return content
