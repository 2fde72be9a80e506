"""The lock on a catalog: one writer at a time, and nothing to tidy up after a kill."""

import subprocess
import sys
from pathlib import Path

import pytest

from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.lock import hold

HOLDER = """
import sys
from pathlib import Path
from planespotter_scraping.catalog.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_program_is_told_to_wait_and_a_kill_frees_the_catalog(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(CatalogError, match="Another planespotter command is at work on the catalog"),
            hold(tmp_path),
        ):
            pass
        other.kill()
        other.wait()
    with hold(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_made_and_freed_again_and_goes_if_nothing_was_stored_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "catalog"
    for stored in (False, True):
        with hold(folder):
            assert folder.is_dir()
            if stored:
                (folder / "catalog.csv").touch()
        assert folder.exists() == (tmp_path / "new").exists() == stored
    (folder / "catalog.csv").unlink()
    with hold(folder):
        pass
    assert folder.is_dir(), "a folder that was there stays"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CatalogError, match=r"cannot be used: (File exists|Not a directory)"), hold(tmp_path / "file"):
        pass
