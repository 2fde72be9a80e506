"""Bearer tokens: a file with the name, the hash and the limits of each token, one per line.

    # NAME    HASH                                                                      LIMITS
    archive   sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   max_calls=8
    cameras   sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

A token is 32 random bytes, which nobody can guess: plain SHA-256 is as safe as a slow hash such as scrypt, which
protects passwords that people choose, and costs a microsecond per call. This is also why tokens are always generated.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from planespotter_server.atomic_write import atomic_write_text, exclusive_lock, fsync_folder
from planespotter_server.auth.file_watcher import FileWatcher
from planespotter_server.settings import ServerError

PREFIX = "pst_"  # lets people and secret scanners recognize a token
TOKEN_BYTES = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Token:
    """A line of the file.

    Args:
        name: Name of the client.
        hash: "sha256:" and the hash of the token in hex.
        max_calls: Maximum number of concurrent calls; None for the common limit.
        photos_per_second: Rate limit; None for none.
    """

    name: str
    hash: str
    max_calls: int | None = None
    photos_per_second: float | None = None


def new_token() -> str:
    """Generate a random token."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).decode().rstrip("=")


def hash_token(token: str) -> str:
    """Return the hash that the file stores for `token`."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def read_tokens(path: Path) -> dict[str, Token]:
    """Read a file of tokens.

    Returns:
        The tokens by name.

    Raises:
        ServerError: It cannot be read, or a line is invalid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ServerError(
            f"The token file {path} cannot be read: {reason}. Create one with `planespotter token new NAME --tokens "
            f"{path}`."
        ) from error
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        token = _parse(line, f"Line {number} of the token file {path}")
        if token.name in tokens:
            raise ServerError(f"Line {number} of the token file {path} repeats the name {token.name!r}. Delete one.")
        tokens[token.name] = token
    return tokens


def add_token(path: Path, name: str, max_calls: int | None = None, photos_per_second: float | None = None) -> str:
    """Generate a token and append its hash to the file, which is created if necessary.

    Args:
        path: Token file.
        name: Name of the client.
        max_calls: Maximum number of concurrent calls; None for the common limit.
        photos_per_second: Rate limit; None for none.

    Returns:
        The token, which is not stored anywhere.

    Raises:
        ServerError: The name is invalid or taken, a limit is invalid, the file is, or its folder cannot be opened.
    """
    if not _NAME.fullmatch(name):
        raise ServerError(
            f"The token name is invalid: {name!r}. Use up to 64 letters, digits, dots, dashes and underscores, and "
            "start with a letter or digit."
        )
    for limit, value in (("max_calls", max_calls), ("photos_per_second", photos_per_second)):
        _check_limit(limit, value, "The new token")
    token = new_token()
    words = [name, hash_token(token)]
    if max_calls is not None:
        words.append(f"max_calls={max_calls}")
    if photos_per_second is not None:
        words.append(f"photos_per_second={photos_per_second:g}")
    with exclusive_lock(path.parent):
        if path.exists() and name in read_tokens(path):
            raise ServerError(
                f"A token named {name!r} is already in {path}. Revoke it first (`planespotter token revoke {name} "
                f"--tokens {path}`), or choose another name."
            )
        content = path.read_text(encoding="utf-8") if path.exists() else ""
        if content and not content.endswith("\n"):
            content += "\n"
        atomic_write_text(path, content + " ".join(words) + "\n")
    return token


@contextmanager
def create_secret_file(path: Path) -> Iterator[IO[str]]:
    """Create a file that only this user can read, and open it for writing.

    At the end, the file and its name are fsynced: nothing else has the token. It is deleted if the block raises.

    Raises:
        ServerError: The file exists.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ServerError(
            f"The file {path} exists, and a token never replaces another. Choose a new name or delete it."
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(path.parent)
    except BaseException:
        path.unlink()
        raise


def revoke_token(path: Path, name: str) -> None:
    """Remove the token of `name` from the file.

    Raises:
        ServerError: The file has no such token, is invalid, or its folder cannot be opened.
    """
    with exclusive_lock(path.parent):
        tokens = read_tokens(path)
        if name not in tokens:
            names = ", ".join(tokens) or "none"
            raise ServerError(f"The token file {path} has no token named {name!r}. It has: {names}.")
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        atomic_write_text(path, "".join(line for line in lines if line.split()[:1] != [name]))


def _parse(line: str, where: str) -> Token:
    name, *rest = line.split()
    if not _NAME.fullmatch(name) or not rest or not _HASH.fullmatch(rest[0]):
        raise ServerError(
            f"{where} is not NAME sha256:HASH with a hash of 64 digits. Generate it with `planespotter token new`."
        )
    limits: dict[str, float] = {}
    for word in rest[1:]:
        limit, _, text = word.partition("=")
        try:
            value = int(text) if limit == "max_calls" else float(text)
        except ValueError:
            value = -1
        if limit not in ("max_calls", "photos_per_second"):
            raise ServerError(f"{where} has an unknown limit: {word!r}. Use max_calls=N and photos_per_second=N.")
        _check_limit(limit, value, where)
        limits[limit] = value
    return Token(name, rest[0], **limits)  # type: ignore[arg-type]


def _check_limit(limit: str, value: float | None, where: str) -> None:
    if value is not None and not (0 < value <= 1e9):
        raise ServerError(f"{where} has an invalid {limit}. Use a number above 0.")


class TokenFile:
    """The tokens of a file, which is reloaded when it changes; if it becomes invalid, the last valid tokens stay.

    Raises:
        ServerError: The file is invalid at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watcher = FileWatcher([path])
        self._by_hash = self._read()

    def __len__(self) -> int:
        return len(self._by_hash)

    def find(self, token: str) -> Token | None:
        """Return the entry of `token`; None if it is not in the file."""
        return self.find_hash(hash_token(token))

    def find_hash(self, token_hash: str) -> Token | None:
        """Return the entry with this hash; None if it is not, or no longer, in the file."""
        if self._watcher.changed():
            try:
                self._by_hash = self._read()
                log.info("tokens_reloaded", tokens=len(self._by_hash))
            except ServerError as error:
                log.error("token_reload_failed", error=str(error), then="use the last valid tokens")
        # The time of a lookup by hash reveals nothing: nobody can choose the hash of a token. The comparison takes
        # constant time all the same, so that nobody has to rely on that.
        token = self._by_hash.get(token_hash)
        return token if token is not None and hmac.compare_digest(token.hash, token_hash) else None

    def _read(self) -> dict[str, Token]:
        return {token.hash: token for token in read_tokens(self._path).values()}
