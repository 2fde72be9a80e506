"""Installed models: complete, small, documented by a model card, and served by default."""

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


def test_a_model_is_installed() -> None:
    assert BUNDLES


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_installed_model_is_complete_small_and_documented(folder: Path) -> None:
    bundle = read_bundle(folder)  # verifies the hashes
    assert (bundle.name, bundle.version) == (folder.parent.name, folder.name)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16_000_000
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {bundle.name} {bundle.version}\n")
    for source in bundle.training["sources"]:
        assert f"`{source}`" in card
    [accuracy] = [m.value for m in bundle.metrics if (m.source, m.name) == ("", "constructor_accuracy")]
    assert f"{accuracy:.1%}".replace("%", " %") in card


@pytest.mark.slow
@pytest.mark.e2e
def test_photo_is_classified_right_after_installation(paint: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("737-800"))
    photo, folder = str(tmp_path / "photo.jpg"), str(BUNDLES[-1])
    command = [*PLANESPOTTER, "classify", photo, "--model", folder, "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    [row] = csv.DictReader(io.StringIO(done.stdout))
    assert row["best_guess_constructor"] in ("Airbus", "Boeing")


@pytest.mark.slow
def test_server_without_options_serves_the_installed_models() -> None:
    with subprocess.Popen([*PLANESPOTTER, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ready = server.stdout.readline()
        server.terminate()
    name, version = BUNDLES[0].parent.name, BUNDLES[0].name
    assert ready.startswith(f"Serving {name} {version} on ")
