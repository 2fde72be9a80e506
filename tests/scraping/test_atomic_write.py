"""Atomic write: a file has its old content or its new one, never a part."""

import os
from pathlib import Path

import pytest

from planespotter_scraping.atomic_write import atomic_write, atomic_write_text


def test_the_file_is_replaced_when_the_new_content_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")
    with atomic_write(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")

    def fail() -> None:
        with atomic_write(file) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def record(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, (tmp_path / "file.txt").exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_write(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
    assert synced == [((tmp_path / "file.txt").stat().st_ino, False)]


def test_text_is_written_in_utf8(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    atomic_write_text(file, "Zürich\n")
    assert file.read_bytes() == "Zürich\n".encode()
    with pytest.raises(UnicodeEncodeError):
        atomic_write_text(file, "\ud800")
    atomic_write_text(file, "\ud800", errors="replace")
    assert file.read_text() == "?"
    assert list(tmp_path.iterdir()) == [file]
