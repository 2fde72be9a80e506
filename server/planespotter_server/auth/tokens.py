"""Bearer tokens: who may call, as a file with one line for each, in which only hashes stand.

    # NAME    HASH                                                                      LIMITS
    archive   sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   max_calls=8
    cameras   sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752

A token is 32 random bytes, so there is nothing to guess: a plain SHA-256 keeps it as safe as a slow hash such as scrypt
would, which is for what people can remember, and costs a call a microsecond. That is also why nobody may choose one.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from planespotter_server.auth.file_watcher import Watched
from planespotter_server.settings import ServerError

PREFIX = "pst_"  # so that people, and programs that look for secrets in code, see what it is
TOKEN_BYTES = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Token:
    """What the file says of a token: its owner's name, the SHA-256 of it, and limits; None: those of every client."""

    name: str
    hash: str
    max_calls: int | None = None
    photos_per_second: float | None = None


def new_token() -> str:
    """Return a token that nobody can guess."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).decode().rstrip("=")


def hash_of(token: str) -> str:
    """Return what stands for `token` in the file."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def read_tokens(path: Path) -> dict[str, Token]:
    """Return the tokens in the file by name. Raises ServerError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ServerError(
            f"The file of tokens {path} cannot be read: {why}. `planespotter token new NAME --tokens {path}` makes one."
        ) from error
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        token = _parse(line, f"Line {number} of the file of tokens {path}")
        if token.name in tokens:
            raise ServerError(f"Line {number} of the file of tokens {path} names {token.name!r} again. Delete one.")
        tokens[token.name] = token
    return tokens


def add_token(path: Path, name: str, max_calls: int | None = None, photos_per_second: float | None = None) -> str:
    """Make a token for `name`, append its hash to the file, which is made if need be; return it. Raises ServerError."""
    if not _NAME.fullmatch(name):
        raise ServerError(
            f"{name!r} is no name for a token. Take up to 64 letters, digits, dots, dashes and underscores, the first "
            "a letter or digit."
        )
    for limit, value in (("max_calls", max_calls), ("photos_per_second", photos_per_second)):
        _check_limit(limit, value, "The new token")
    if path.exists() and name in read_tokens(path):
        raise ServerError(
            f"There is a token for {name!r} in {path} already. Revoke it first (`planespotter token revoke {name} "
            f"--tokens {path}`), or take another name."
        )
    token = new_token()
    words = [name, hash_of(token)]
    if max_calls is not None:
        words.append(f"max_calls={max_calls}")
    if photos_per_second is not None:
        words.append(f"photos_per_second={photos_per_second:g}")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    _replace(path, before + " ".join(words) + "\n")
    return token


@contextmanager
def secret_file(path: Path) -> Iterator[IO[str]]:
    """Yield a new file at `path` that nobody else can read; if this raises, there is none. Raises ServerError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ServerError(
            f"There is a file {path} already, and a token does not take the place of another. Name a new one, or "
            "delete it."
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


def revoke_token(path: Path, name: str) -> None:
    """Take the token of `name` out of the file. Raises ServerError."""
    tokens = read_tokens(path)
    if name not in tokens:
        names = ", ".join(tokens) or "none at all"
        raise ServerError(f"There is no token for {name!r} in {path}; it has {names}.")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    _replace(path, "".join(line for line in lines if line.split()[:1] != [name]))


def _replace(path: Path, content: str) -> None:
    """Write the file anew, so that a server which reads it in the same moment sees the old or the new one."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _parse(line: str, where: str) -> Token:
    name, *rest = line.split()
    if not _NAME.fullmatch(name) or not rest or not _HASH.fullmatch(rest[0]):
        raise ServerError(
            f"{where} is not NAME sha256:HASH. Write what `planespotter token new` writes; the hash has 64 digits."
        )
    limits: dict[str, float] = {}
    for word in rest[1:]:
        limit, _, text = word.partition("=")
        try:
            value = int(text) if limit == "max_calls" else float(text)
        except ValueError:
            value = -1
        if limit not in ("max_calls", "photos_per_second"):
            raise ServerError(f"{where} has {word!r}; limits are max_calls=N and photos_per_second=N.")
        _check_limit(limit, value, where)
        limits[limit] = value
    return Token(name, rest[0], **limits)  # type: ignore[arg-type]


def _check_limit(limit: str, value: float | None, where: str) -> None:
    if value is not None and not (0 < value <= 1e9):
        raise ServerError(f"{where} has no good value for {limit}: it must be a number above 0.")


class Tokens:
    """The tokens of a file, which is read again when it changes. A file that is broken then leaves the last good ones.

    Raises ServerError if it cannot be read at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = Watched([path])
        self._by_hash = self._read()

    def __len__(self) -> int:
        return len(self._by_hash)

    def find(self, token: str) -> Token | None:
        """Return what the file says of `token`, None if it is not in it."""
        return self.still(hash_of(token))

    def still(self, hash_: str) -> Token | None:
        """Return the token with this hash, None if it is not, or no longer, in the file."""
        if self._watched.changed():
            try:
                self._by_hash = self._read()
                log.info("tokens_read", tokens=len(self._by_hash))
            except ServerError as error:
                log.error("tokens_not_read", error=str(error), then="the last good ones stay")
        # A look-up by hash tells nothing of the token by the time it takes: its hash cannot be steered. Compared
        # in constant time all the same, so that nobody has to rely on that.
        found = self._by_hash.get(hash_)
        return found if found is not None and hmac.compare_digest(found.hash, hash_) else None

    def _read(self) -> dict[str, Token]:
        return {token.hash: token for token in read_tokens(self._path).values()}
