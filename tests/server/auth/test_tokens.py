"""Tokens: the file with their hashes, and the commands that create, list and revoke them."""

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from planespotter_client.commands.main import main
from planespotter_server.atomic_write import exclusive_lock
from planespotter_server.auth.tokens import (
    TokenFile,
    add_token,
    create_secret_file,
    hash_token,
    read_tokens,
    revoke_token,
)
from planespotter_server.settings import ServerError


def test_file_contains_hashes_but_no_tokens(tokens: Path) -> None:
    token = add_token(tokens, "archive", max_calls=3, photos_per_second=0.5)
    other = add_token(tokens, "cameras")
    assert token not in tokens.read_text()
    assert len({token, other}) == 2
    assert (tokens.stat().st_mode & 0o077) == 0, "nobody else can read it"
    entry = TokenFile(tokens).find(token)
    assert entry is not None
    assert (entry.name, entry.max_calls, entry.photos_per_second) == ("archive", 3, 0.5)
    assert TokenFile(tokens).find(token + "x") is None
    assert TokenFile(tokens).find(hash_token(token)) is None


def test_revoking_a_token_keeps_the_others(tokens: Path) -> None:
    tokens.write_text("# Ours\n\n")
    token, other = add_token(tokens, "a"), add_token(tokens, "b")
    token_file = TokenFile(tokens)
    assert token_file.find(token) is not None
    revoke_token(tokens, "a")
    assert token_file.find(token) is None
    assert token_file.find(other) is not None
    assert tokens.read_text().startswith("# Ours\n")
    with pytest.raises(ServerError, match=r"has no token named 'a'\. It has: b"):
        revoke_token(tokens, "a")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", r"Line 1 of the token file .* is not NAME sha256:HASH"),
        ("a sha256:12", "is not NAME sha256:HASH"),
        (f"a {hash_token('x')} max_call=3", "unknown limit: 'max_call=3'. Use max_calls=N and photos_per_second=N"),
        (f"a {hash_token('x')} max_calls=0", "has an invalid max_calls"),
        (f"a {hash_token('x')} photos_per_second=nan", "has an invalid photos_per_second"),
        (f"a {hash_token('x')}\na {hash_token('y')}", "Line 2 of the token file .* repeats the name 'a'"),
    ],
)
def test_invalid_line_is_an_error(tokens: Path, line: str, message: str) -> None:
    tokens.write_text(line)
    with pytest.raises(ServerError, match=message):
        read_tokens(tokens)


def test_names_are_valid_and_unique(tokens: Path) -> None:
    with pytest.raises(ServerError, match="The token name is invalid: 'a b'"):
        add_token(tokens, "a b")
    add_token(tokens, "a")
    with pytest.raises(ServerError, match=r"A token named 'a' is already in "):
        add_token(tokens, "a")
    with pytest.raises(ServerError, match="cannot be read: No such file"):
        TokenFile(tokens.with_name("none.txt"))


def test_tokens_added_and_revoked_at_the_same_time_are_not_lost(tokens: Path) -> None:
    names = [f"client-{number}" for number in range(24)]
    for name in names[::2]:
        add_token(tokens, f"old-{name}")
    start = threading.Barrier(len(names))

    def work(number: int) -> str:
        start.wait(60)
        if number % 2 == 0:
            revoke_token(tokens, f"old-{names[number]}")
        return add_token(tokens, names[number])

    with ThreadPoolExecutor(len(names)) as pool:
        created = list(pool.map(work, range(len(names))))
    token_file = TokenFile(tokens)
    entries = [token_file.find(token) for token in created]
    assert [entry and entry.name for entry in entries] == names
    assert read_tokens(tokens).keys() == set(names)


def test_process_waits_for_the_lock_to_change_the_tokens(tokens: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from planespotter_server.auth.tokens import add_token; "
        "print('ready', flush=True); add_token(Path(sys.argv[1]), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tokens)]
    with exclusive_lock(tokens.parent):
        processes = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
        for process in processes:
            assert process.stdout is not None
            with process.stdout as lines:
                assert lines.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            processes[0].wait(0.3)
        assert not tokens.exists()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert read_tokens(tokens).keys() == {"a", "b"}


def test_missing_folder_has_a_readable_error(tokens: Path) -> None:
    for change in (add_token, revoke_token):
        with pytest.raises(
            ServerError, match=r"The folder .*none cannot be used: No such file or directory\. Create it"
        ):
            change(tokens.parent / "none" / "tokens.txt", "a")


def test_secret_file_is_synced_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_ino, os.fstat(handle).st_size)))
    with create_secret_file(tmp_path / "archive.token") as file:
        file.write("secret\n")
    assert synced[0] == ((tmp_path / "archive.token").stat().st_ino, len("secret\n"))
    assert [inode for inode, _ in synced[1:]] == [tmp_path.stat().st_ino]


def test_secret_file_that_cannot_be_synced_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"), create_secret_file(tmp_path / "archive.token") as file:
        file.write("secret\n")
    assert list(tmp_path.iterdir()) == []


def test_invalid_file_leaves_the_last_valid_tokens(tokens: Path) -> None:
    token = add_token(tokens, "a")
    token_file = TokenFile(tokens)
    tokens.write_text("nonsense")
    assert token_file.find(token) is not None
    tokens.unlink()
    assert token_file.find(token) is not None
    tokens.write_text("")
    assert token_file.find(token) is None


def test_commands_create_list_and_revoke_tokens(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["token", *arguments, "--tokens", str(tokens)])
        assert ended.value.code == 0
        return capsys.readouterr().out

    token = run("new", "archive", "--photos-per-second", "2.5").strip()
    assert TokenFile(tokens).find(token)
    assert run("list") == "archive photos_per_second=2.5\n"
    run("revoke", "archive")
    assert run("list") == ""


def test_new_token_can_be_written_to_a_new_private_file(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "archive.token"

    def run(*arguments: str) -> int | str | None:
        with pytest.raises(SystemExit) as ended:
            main(["token", "new", *arguments, "--tokens", str(tokens), "--out", str(out)])
        return ended.value.code

    assert run("no name") == 1
    assert not out.exists()
    assert run("archive") == 0
    assert capsys.readouterr().out == "", "it is only in the file"
    assert out.stat().st_mode & 0o777 == 0o600
    assert TokenFile(tokens).find(out.read_text().strip())
    contents = (tokens.read_text(), out.read_text())
    assert run("cameras") == 1
    assert "exists, and a token never replaces another" in capsys.readouterr().err
    assert (tokens.read_text(), out.read_text()) == contents
