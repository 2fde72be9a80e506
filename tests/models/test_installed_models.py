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


def test_a_large_and_a_small_model_are_installed() -> None:
    assert [folder.parent.name for folder in BUNDLES] == ["airliners", "airliners-small"]
    large, small = (sum(file.stat().st_size for file in folder.iterdir()) for folder in BUNDLES)
    assert large <= 16_000_000
    assert small <= 1_500_000


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_installed_model_is_complete_and_documented(folder: Path) -> None:
    bundle = read_bundle(folder)  # verifies the hashes
    assert (bundle.name, bundle.version) == (folder.parent.name, folder.name)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {bundle.name} {bundle.version}\n")
    for source in bundle.training["sources"]:
        assert f"`{source}`" in card
    [accuracy] = [m.value for m in bundle.metrics if (m.source, m.name) == ("", "constructor_accuracy")]
    assert f"{accuracy:.1%}".replace("%", " %") in card


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_photo_is_classified_right_after_installation(
    folder: Path, paint: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(paint("737-800"))
    photo = str(tmp_path / "photo.jpg")
    command = [*PLANESPOTTER, "classify", photo, "--model", str(folder), "--format", "csv"]
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
    assert ready.startswith(f"Serving {len(BUNDLES)} models on ")
