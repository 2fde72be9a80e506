"""TLS from files, which are read again when they change, so that a certificate is renewed without a restart."""

import ssl
import threading
from pathlib import Path

import grpc
import structlog

from planespotter_server.auth.file_watcher import Watched
from planespotter_server.settings import ServerError

log = structlog.get_logger()


def credentials(certificate: Path, key: Path, client_authority: Path | None = None) -> grpc.ServerCredentials:
    """Return credentials that show `certificate` (PEM: the server's, then those of the authorities in between).

    With `client_authority` (PEM) only clients are let in that show a certificate which it has signed. New connections
    use what the files hold then; if that is broken, or a certificate is there and its key not yet, what was good
    before. Raises ServerError if the files are no good now.
    """
    files = _Files(certificate, key, client_authority)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.if_changed,  # type: ignore[arg-type]  # None, for no change, is not in the types
        require_client_authentication=client_authority is not None,
    )


class _Files:
    def __init__(self, certificate: Path, key: Path, client_authority: Path | None) -> None:
        self._certificate, self._key, self._client_authority = certificate, key, client_authority
        self._watched = Watched([path for path in (certificate, key, client_authority) if path is not None])
        self._trouble = ""
        self._lock = threading.Lock()  # connections are made in several threads

    def if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold if that is new and good. gRPC calls this for every connection."""
        with self._lock:
            # Files that were found halfway through being replaced are looked at again, changed or not.
            if not (self._watched.changed() or self._trouble):
                return None
            try:
                found = self.read()
            except Exception as error:  # of whatever kind: connections go on with what was good
                if str(error) != self._trouble:
                    log.error("certificate_not_read", error=str(error), then="the last good one stays")
                self._trouble = str(error)
                return None
            self._trouble = ""
            log.info("certificate_read", file=str(self._certificate))
            return found

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold. Raises ServerError unless it is a certificate with its key."""
        paths = [path for path in (self._key, self._certificate, self._client_authority) if path is not None]
        contents = [_read(path) for path in paths]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, password="")  # else it would ask the terminal
        except (OSError, ValueError) as error:
            raise ServerError(
                f"{self._certificate} and {self._key} are no certificate and its private key, both as PEM and the key "
                f"without a password ({_why(error)})."
            ) from error
        if self._client_authority is not None:
            try:
                context.load_verify_locations(self._client_authority)
            except (OSError, ValueError) as error:
                raise ServerError(
                    f"{self._client_authority} holds no certificate of an authority as PEM ({_why(error)})."
                ) from error
        if contents != [_read(path) for path in paths]:
            raise ServerError(f"{self._certificate} and the files that belong to it are just being replaced.")
        key, chain, *authority = contents
        return grpc.ssl_server_certificate_configuration([(key, chain)], authority[0] if authority else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServerError(f"The file {path} for TLS cannot be read: {error.strerror}.") from error


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
