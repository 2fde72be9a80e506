"""TLS: server credentials from files that are reloaded when they change, without a restart."""

import re
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import structlog

from planespotter_server.auth.file_watcher import FileWatcher
from planespotter_server.settings import ServerError

WARNING_DAYS = 14
# The validity of a certificate in DER: a sequence of two times, each UTCTime or GeneralizedTime.
_VALIDITY = re.compile(rb"\x30[\x1e\x20\x22](?:\x17\x0d|\x18\x0f)(\d{12,14})Z(?:\x17\x0d|\x18\x0f)(\d{12,14})Z")
_PEM_BEGIN, _PEM_END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

log = structlog.get_logger()


def server_credentials(
    certificate: Path,
    key: Path,
    client_ca: Path | None = None,
    on_expiry: Callable[[datetime], None] = lambda expiry: None,
) -> grpc.ServerCredentials:
    """Load TLS credentials that follow their files.

    New connections use the current content of the files. If that is invalid, or a new certificate is there before its
    key, they use the last valid content.

    Args:
        certificate: PEM file: the server's certificate, then the intermediates.
        key: PEM file of its private key, without a password.
        client_ca: PEM file of the authority that must have signed the certificates of clients; None to require none.
        on_expiry: Called with the time at which the certificate expires, at first and when its file has changed.

    Raises:
        ServerError: The files are missing or invalid.
    """
    files = _CertificateFiles(certificate, key, client_ca, on_expiry)
    return grpc.dynamic_ssl_server_credentials(
        files.load(),
        files.load_if_changed,  # type: ignore[arg-type]  # the types lack None, for "unchanged"
        require_client_authentication=client_ca is not None,
    )


class _CertificateFiles:
    def __init__(
        self, certificate: Path, key: Path, client_ca: Path | None, on_expiry: Callable[[datetime], None]
    ) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._on_expiry = on_expiry
        self._watcher = FileWatcher([path for path in (certificate, key, client_ca) if path is not None])
        self._error = ""
        self._lock = threading.Lock()  # gRPC makes connections in several threads

    def load_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration; None if it is unchanged or invalid. gRPC calls this for every connection."""
        with self._lock:
            # After an error the files are read again even if unchanged: they may have been read half replaced.
            if not (self._watcher.changed() or self._error):
                return None
            try:
                configuration = self.load()
            except Exception as error:  # of any kind: new connections use the last valid files
                if str(error) != self._error:
                    log.error("certificate_reload_failed", error=str(error), then="use the last valid certificate")
                self._error = str(error)
                return None
            self._error = ""
            log.info("certificate_reloaded", file=str(self._certificate))
            return configuration

    def load(self) -> grpc.ServerCertificateConfiguration:
        """Read and validate the files.

        Raises:
            ServerError: They are not a certificate and its private key.
        """
        paths = [path for path in (self._key, self._certificate, self._client_ca) if path is not None]
        contents = [_read(path) for path in paths]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._key, password="")  # without it, OpenSSL asks the terminal
        except (OSError, ValueError) as error:
            raise ServerError(
                f"{self._certificate} and {self._key} are not a certificate and its private key ({_reason(error)}). "
                "Both must be PEM files, the key without a password."
            ) from error
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except (OSError, ValueError) as error:
                raise ServerError(
                    f"{self._client_ca} is not a certificate of an authority ({_reason(error)}). It must be a PEM file."
                ) from error
        if contents != [_read(path) for path in paths]:
            raise ServerError(f"{self._certificate} and its related files are being replaced right now. Try again.")
        key, chain, *authority = contents
        if (dates := validity(chain)) is not None:
            _warn_of_validity(self._certificate, *dates, datetime.now(UTC))
            self._on_expiry(dates[1])
        return grpc.ssl_server_certificate_configuration([(key, chain)], authority[0] if authority else None)


def validity(chain: bytes) -> tuple[datetime, datetime] | None:
    """Return from when to when the first certificate of a PEM file is valid; None if its dates cannot be read."""
    text = chain.decode("ascii", "replace")
    first = text[text.find(_PEM_BEGIN) :].partition(_PEM_END)[0] + _PEM_END
    try:
        dates = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(first))
    except ValueError:
        return None
    return (_date(dates[1]), _date(dates[2])) if dates else None


def _date(text: bytes) -> datetime:
    """Parse an ASN.1 time: YYMMDDHHMMSS, of which years from 50 are in the 20th century, or YYYYMMDDHHMMSS."""
    digits = text.decode()
    if len(digits) == 12:
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _warn_of_validity(certificate: Path, valid_from: datetime, valid_until: datetime, now: datetime) -> None:
    """Log a warning if clients reject the certificate by its dates, or will within WARNING_DAYS."""
    facts = {"file": str(certificate), "valid_from": f"{valid_from:%Y-%m-%d}", "valid_until": f"{valid_until:%Y-%m-%d}"}
    if valid_until < now:
        log.warning("certificate_expired", **facts, then="clients reject it: renew it")
    elif valid_from > now:
        log.warning("certificate_not_yet_valid", **facts, then="clients reject it: check the clock of this machine")
    elif valid_until - now < timedelta(days=WARNING_DAYS):
        log.warning("certificate_expires_soon", **facts, days_left=(valid_until - now).days)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ServerError(f"The TLS file {path} cannot be read: {error.strerror}. Check its path.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
