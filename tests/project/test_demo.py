"""The demo end to end: from the sample site to streamed predictions, with fewer photos and epochs."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.e2e]

DEMO = [sys.executable, "-m", "planespotter_client.commands.main", "demo", "--pages", "4", "--epochs", "1", "--out"]


def test_demo_runs_the_pipeline_end_to_end_and_can_be_repeated(tmp_path: Path) -> None:
    out = tmp_path / "demo folder"
    for attempt in ("first", "second"):
        done = subprocess.run([*DEMO, out], capture_output=True, text=True, timeout=1200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Predictions and ground truth" in done.stdout
        assert " photos/s." in done.stdout
        assert "grpcurl -plaintext" in done.stdout
        with (out / "photos" / "catalog.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len({row["photo_id"] for row in rows}) == len(rows) > 150, attempt
    assert {path.name for path in out.iterdir()} == {"photos", "run", "model", "server.log"}
    with (out / "run" / "heldout.csv").open(encoding="utf-8") as file:
        heldout = list(csv.DictReader(file))
    assert f"{len(heldout)} photos in " in done.stdout
    with (out / "run" / "split.csv").open(encoding="utf-8") as file:
        trained_airframes = {row["registration"] for row in csv.DictReader(file) if row["split"] == "train"} - {""}
    assert not trained_airframes & {row["registration"] for row in heldout}, "an airframe is in both splits"
