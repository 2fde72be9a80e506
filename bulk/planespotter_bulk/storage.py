"""Storage: read and write local folders, S3, GCS, Azure, and what else fsspec reads, by path or URI.

pyarrow accesses local folders, S3 and GCS; any other scheme goes through fsspec, which needs the package for it (az://
needs adlfs). Credentials come from where the SDKs of the stores look for them: environment, profile or instance role.
`AWS_ENDPOINT_URL` names another S3 server, such as MinIO.
"""

import contextlib
import os
import stat
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pyarrow import fs

from planespotter_bulk.errors import BulkError

LOCAL = "file"
S3_ATTEMPTS = 4
CONNECT_SECONDS, REQUEST_SECONDS = 10, 60


class Cause(Enum):
    """Why an object cannot be read."""

    MISSING = "it does not exist"
    FORBIDDEN = "access is denied"
    TOO_LARGE = "it is too large"
    NOT_A_FILE = "it is a folder, a pipe or a device"
    UNREACHABLE = "the store cannot be reached"


class StorageError(BulkError):
    """A file or object cannot be read or written.

    Attributes:
        cause: Why.
        size: Its size in bytes, if it is too large.
    """

    def __init__(self, message: str, cause: Cause, size: int = 0) -> None:
        super().__init__(message)
        self.cause = cause
        self.size = size


@dataclass(frozen=True)
class Entry:
    """A file or folder in a listing.

    Attributes:
        name: Name within its folder.
        uri: Path or URI.
        is_folder: Whether it is a folder, or a prefix that ends with a slash.
        size: Size of a file in bytes.
        modified: When a file was last modified; None if the store does not report it.
    """

    name: str
    uri: str
    is_folder: bool
    size: int = 0
    modified: datetime | None = None


@dataclass(frozen=True)
class Folder:
    """A folder, bucket or prefix, whose files are read and written by name.

    Attributes:
        uri: Path or URI, without a slash at the end.
    """

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether it is a folder on this machine, or one that is mounted on it."""
        return scheme_of(self.uri) == LOCAL

    def __truediv__(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def __str__(self) -> str:
        return self.uri

    def entries(self, below: str = "") -> list[Entry]:
        """List the folder, or a folder below it; sorted by name, in which the name of a folder ends with a slash.

        Raises:
            StorageError: It cannot be listed, other than because it does not exist: then the list is empty.
        """
        uri = f"{self.uri}/{below}" if below else self.uri
        with _explained(uri, "listed"):
            if self.is_local:
                return _scan_local(uri)
            filesystem, path = resolve(uri)
            infos = filesystem.get_file_info(fs.FileSelector(path, recursive=False, allow_not_found=True))
        entries = [
            Entry(
                info.base_name,
                f"{uri}/{info.base_name}",
                info.type == fs.FileType.Directory,
                info.size or 0,
                info.mtime and info.mtime.astimezone(UTC),
            )
            for info in infos
            if info.base_name
        ]
        return sorted(entries, key=lambda entry: entry.name + "/" * entry.is_folder)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        try:
            return read_file(self / name)
        except StorageError as error:
            if error.cause is Cause.MISSING:
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: a reader sees the old file, the new one or none, never a part.

        A local file is written next to its place, fsynced and renamed; an object store shows an object when it is
        complete. Folders are created.
        """
        uri = self / name
        with _explained(uri, "written"):
            if self.is_local:
                _write_local(Path(local_path(uri)), content)
                return
            filesystem, path = resolve(uri)
            with filesystem.open_output_stream(path) as file:
                file.write(content)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        uri = self / name
        with _explained(uri, "deleted"):
            filesystem, path = resolve(uri)
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_file(path)


def _scan_local(path: str) -> list[Entry]:
    """List a local folder; pyarrow cannot list names that are not UTF-8."""
    entries = []
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as scanned:
        for entry in scanned:
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, or a broken link
                if entry.is_symlink() and f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(entry)}/"):
                    continue  # a link to a folder that contains it
                status = entry.stat()
                modified = datetime.fromtimestamp(status.st_mtime, UTC)
                entries.append(Entry(entry.name, f"{path}/{entry.name}", entry.is_dir(), status.st_size, modified))
    return sorted(entries, key=lambda entry: entry.name + "/" * entry.is_folder)


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI in lower case: "s3"; "file" for a path."""
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else LOCAL


def local_path(uri: str) -> str:
    """Return the path of a local file by its path or its file:// URI."""
    return uri.partition("://")[2] if "://" in uri else uri


def open_folder(uri: str) -> Folder:
    """Return the folder at a path, which may be relative, or a URI.

    Raises:
        BulkError: The scheme is unknown or needs a package that is not installed, or the URI has no bucket.
    """
    if scheme_of(uri) == LOCAL:
        return Folder(os.path.abspath(local_path(uri)))  # noqa: PTH100  (it must not resolve symbolic links)
    if not uri.partition("://")[2].strip("/"):
        raise BulkError(f"{uri} names no bucket. Use a URI such as s3://bucket/folder.")
    folder = Folder(uri.rstrip("/"))
    resolve(folder.uri)
    return folder


_filesystems: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()


def resolve(uri: str) -> tuple[Any, str]:
    """Return the pyarrow filesystem of `uri`, cached per bucket, and the path within it.

    Raises:
        BulkError: The scheme is unknown, or needs a package that is not installed.
    """
    scheme = scheme_of(uri)
    if scheme == LOCAL:
        return fs.LocalFileSystem(), local_path(uri)
    path = uri.partition("://")[2].rstrip("/")
    bucket = path.partition("/")[0]
    with _lock:
        if (scheme, bucket) not in _filesystems:
            _filesystems[scheme, bucket] = _connect(scheme, bucket)
    return _filesystems[scheme, bucket], path


def _connect(scheme: str, bucket: str) -> Any:
    if scheme in ("s3", "s3a"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None and not endpoint:
            with contextlib.suppress(OSError):  # the first request then fails, and its error is reported
                region = fs.resolve_s3_region(bucket)
        return fs.S3FileSystem(
            endpoint_override=endpoint,
            region=region or "us-east-1",
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
        )
    if scheme in ("gs", "gcs"):
        return fs.FileSystem.from_uri(f"gs://{bucket}")[0]
    import fsspec

    try:
        filesystem = fsspec.filesystem(scheme)
    except ImportError as error:
        raise BulkError(f"{scheme}:// needs a further package: {error}. It is needed on every machine.") from error
    except ValueError as error:
        if "not known" not in str(error):
            raise BulkError(f"{scheme}:// cannot be accessed: {error}. Check the credentials.") from error
        raise BulkError(
            f"{scheme}:// is not a known kind of storage. Use a folder, s3://, gs:// or az://, or another scheme of "
            "fsspec."
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem))


def read_file(uri: str, max_bytes: int | None = None) -> bytes:
    """Return the content of a file or object.

    Args:
        uri: Path or URI.
        max_bytes: Maximum size; a larger one is not read.

    Raises:
        StorageError: It cannot be read, or has more than `max_bytes` bytes.
    """
    with _explained(uri, "read"):
        if scheme_of(uri) == LOCAL:
            return _read_local(uri, max_bytes)
        filesystem, path = resolve(uri)
        with filesystem.open_input_file(path) as file:
            size = file.size()
            _check_size(uri, size, max_bytes)
            content: bytes = file.read(size)
            return content


def _read_local(uri: str, max_bytes: int | None) -> bytes:
    """Read a regular file: opening a pipe would block, and a device may be infinite."""
    with os.fdopen(os.open(local_path(uri), os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{uri} is not a regular file.", Cause.NOT_A_FILE)
        _check_size(uri, status.st_size, max_bytes)
        return file.read(-1 if max_bytes is None else max_bytes)


def _check_size(uri: str, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise StorageError(f"{uri} has {size:,} bytes; the limit is {max_bytes:,}.", Cause.TOO_LARGE, size)


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some network drives cannot sync folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# How pyarrow and fsspec word a denied access; they raise OSError for it.
_DENIED = (
    *("access_denied", "permission_denied", "accessdenied", "forbidden", "invalid_access_key"),
    *("invalidaccesskey", "signature_does_not", "no credentials", "unauthenticated"),
)
_ABSENT = ("no_such_bucket", "no_such_key", "not_found", "nosuchbucket", "bucket does not exist", "does not exist")


@contextlib.contextmanager
def _explained(uri: str, action: str) -> Iterator[None]:
    """Turn the errors of all stores into a StorageError."""
    try:
        yield
    except BulkError:
        raise
    except Exception as error:  # each fsspec filesystem raises its own types
        cause = cause_of(error)
        detail = "" if cause in (Cause.MISSING, Cause.NOT_A_FILE) else f" ({_first_line(error)})"
        raise StorageError(f"{uri} cannot be {action}: {cause.value}{detail}.", cause) from error


def cause_of(error: Exception) -> Cause:
    """Classify an error of a store."""
    text = str(error).lower()
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Cause.MISSING
    if isinstance(error, IsADirectoryError):
        return Cause.NOT_A_FILE
    if isinstance(error, PermissionError) or any(words in text for words in _DENIED):
        return Cause.FORBIDDEN
    if any(words in text for words in _ABSENT):
        return Cause.MISSING
    return Cause.UNREACHABLE


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
