"""Exclusive lock on a catalog: one writer at a time, and no leftovers after a kill."""

import subprocess
import sys
from pathlib import Path

import pytest

from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.lock import exclusive_lock

HOLDER = """
import sys
from pathlib import Path
from planespotter_scraping.catalog.lock import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_rejected_and_a_kill_releases_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(CatalogError, match="Another planespotter command is writing to the catalog"),
            exclusive_lock(tmp_path),
        ):
            pass
        other.kill()
        other.wait()
    with exclusive_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_are_created_and_removed_again_if_nothing_was_stored(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "catalog"
    for stored in (False, True):
        with exclusive_lock(folder):
            assert folder.is_dir()
            if stored:
                (folder / "catalog.csv").touch()
        assert folder.exists() == (tmp_path / "new").exists() == stored
    (folder / "catalog.csv").unlink()
    with exclusive_lock(folder):
        pass
    assert folder.is_dir(), "a folder that existed before stays"
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(CatalogError, match=r"cannot be used: (File exists|Not a directory)"),
        exclusive_lock(tmp_path / "file"),
    ):
        pass


def test_partial_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    partial = [tmp_path / ".catalog.csv.1.part", tmp_path / "images" / "sample" / ".7.jpg.1.part"]
    partial[1].parent.mkdir(parents=True)
    for file in partial:
        file.write_text("half")
    with exclusive_lock(tmp_path):
        assert not any(file.exists() for file in partial)
