"""Jobs on Ray: on this machine, and on a cluster whose workers, nodes and driver are killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bulk.conftest import Bulk
from tests.bulk.jobs import rows

from planespotter_client.commands.local_server import local_server

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

REPOSITORY = Path(__file__).resolve().parents[2]
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


def planespotter(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PLANESPOTTER, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240
    )


def test_job_on_this_machine_answers_as_classify_does(
    photos: Path, tmp_path: Path, tiny_bundle: Path, bulk: Bulk, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    for name, (content, _) in bad_photos.items():
        (photos / f"{name}.jpg").write_bytes(content)
    assert bulk("list", photos, "--out", tmp_path / "manifest") == 0
    command = ("bulk", "run", tmp_path / "manifest", "--bundle", tiny_bundle, "--out", tmp_path / "answers")
    done = planespotter(*command, "--block-photos", 4)
    assert done.returncode == 0, done.stderr
    assert "tiny 1 on 1 worker with " in done.stderr
    assert "9 photos, " in done.stdout
    assert "failed 4 (" in done.stdout
    assert "Traceback" not in done.stderr
    assert bulk("account", tmp_path / "manifest", tmp_path / "answers") == 0
    again = planespotter(*command, "--block-photos", 4)
    assert (again.returncode, "9 were answered by earlier runs." in again.stdout) == (0, True)
    with local_server(tmp_path / "server.log", tiny_bundle) as (address, _):
        out = tmp_path / "results.jsonl"
        planespotter("classify", photos, "--server", address, "--out", out)
    expected = {row["file"]: row for row in map(json.loads, out.read_text().splitlines())}
    answered = {row["file"]: row for row in rows(tmp_path / "answers").values()}
    assert answered.keys() == expected.keys()
    for file, row in answered.items():
        values = {name: row[name] for name in ("level", "name", "probability", "model", "best_guess_constructor")}
        assert values == {name: expected[file].get(name) for name in values}
        assert bool(row["error"]) == bool(expected[file].get("error"))


def test_kills_of_workers_nodes_and_driver_lose_and_repeat_no_photo(tmp_path: Path) -> None:
    kills = int(os.environ.get("PLANESPOTTER_CHAOS_KILLS", "3"))
    command = [sys.executable, "-m", "tests.bulk.chaos", "--kills", str(kills), "--photos", str(1500 + 300 * kills)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=1000)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["kills"]) == kills
    assert (result["missing"], result["duplicate"], result["reasons"]) == (0, 0, {})
    assert result["answered"] == result["photos"]
