"""Atomic write: the old file or the new one, and nothing else."""

import os
from pathlib import Path

import pytest

from planespotter_training.atomic_write import write_text


def test_a_file_is_replaced_with_its_line_ends_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_text(path, "old")
    write_text(path, "new\r\nläuft\n")
    assert path.read_bytes() == "new\r\nläuft\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old")

    def fail(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
