"""Atomic write of the server: the old content or the new, durable, with the permissions of the file."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from planespotter_server.atomic_write import atomic_write_text, fsync_folder


def test_new_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    atomic_write_text(file, "läuft\n")
    assert file.read_bytes() == "läuft\n".encode()
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text("old")
    file.chmod(0o640)
    atomic_write_text(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640


def test_content_is_on_disk_before_the_rename_and_the_rename_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens.txt"
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_ino, file.exists())))
    atomic_write_text(file, "new")
    assert synced == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_write_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("code", "raises"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_only_a_file_system_that_cannot_sync_folders_is_excused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raises: bool
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="error") if raises else nullcontext():
        fsync_folder(tmp_path)
