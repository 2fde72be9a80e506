"""The networks that are installed with planespotter: whole, small, described, and served unless told otherwise."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import planespotter_models
from planespotter_models import read_bundle

BUNDLES = sorted(path.parent for path in planespotter_models.FOLDER.glob("*/*/bundle.json"))
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


def test_there_is_one() -> None:
    assert BUNDLES


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_it_is_whole_small_and_described(folder: Path) -> None:
    made = read_bundle(folder)  # checks the hashes
    assert (made.name, made.version) == (folder.parent.name, folder.name)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16_000_000
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {made.name} {made.version}\n")
    for source in made.training["sources"]:
        assert f"`{source}`" in card
    [accuracy] = [m.value for m in made.metrics if (m.source, m.name) == ("", "constructor_accuracy")]
    assert f"{accuracy:.1%}".replace("%", " %") in card


def test_a_photo_is_classified_right_after_installation(paint: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("737-800"))
    photo, folder = str(tmp_path / "photo.jpg"), str(BUNDLES[-1])
    command = [*PLANESPOTTER, "classify", photo, "--model", folder, "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    [row] = csv.DictReader(io.StringIO(done.stdout))
    assert row["constructor"] in ("Airbus", "Boeing")


def test_a_server_that_is_told_nothing_serves_them() -> None:
    with subprocess.Popen([*PLANESPOTTER, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ready = server.stdout.readline()
        server.terminate()
    name, version = BUNDLES[0].parent.name, BUNDLES[0].name
    assert ready.startswith(f"Serving {name} {version} on ")
