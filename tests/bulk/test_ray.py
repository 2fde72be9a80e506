"""Jobs on Ray: on this machine, and on a cluster whose workers, nodes and driver are killed."""

import contextlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.bulk.conftest import Bulk
from tests.bulk.jobs import rows, write_manifest

from planespotter_client.commands.local_server import local_server

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

REPOSITORY = Path(__file__).resolve().parents[2]
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


def planespotter(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PLANESPOTTER, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240
    )


def listening(job: "subprocess.Popen[str]") -> set[str]:
    """Return the addresses that a job and its processes listen on while it runs."""
    addresses: set[str] = set()
    while job.poll() is None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(job.pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    sockets = process.net_connections("inet")
                    addresses |= {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}
        time.sleep(0.2)
    return addresses


def test_job_on_this_machine_answers_as_classify_does(
    photos: Path, tmp_path: Path, tiny_bundle: Path, bulk: Bulk, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    for name, (content, _) in bad_photos.items():
        (photos / f"{name}.jpg").write_bytes(content)
    assert bulk("list", photos, "--out", tmp_path / "manifest") == 0
    command = ("bulk", "run", tmp_path / "manifest", "--bundle", tiny_bundle, "--out", tmp_path / "answers")
    words = [*PLANESPOTTER, *map(str, command), "--block-photos", "4"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        addresses = listening(job)
        out, err = job.communicate()
    assert job.returncode == 0, err
    assert addresses
    assert all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses), addresses
    assert re.match(r"tiny 1 on \d+ workers? with 1 core( each)?; 9 of 9 photos to classify", err), err
    assert "9 photos, " in out
    assert "failed 4 (" in out
    assert all("9 photos" in line for line in err.splitlines()), err  # a line of progress, on a slow machine
    assert bulk("account", tmp_path / "manifest", tmp_path / "answers") == 0
    again = planespotter(*command, "--block-photos", 4)
    assert (again.returncode, "9 were answered by earlier runs." in again.stdout) == (0, True)
    with local_server(tmp_path / "server.log", tiny_bundle) as (address, _):
        results = tmp_path / "results.jsonl"
        planespotter("classify", photos, "--server", address, "--out", results)
    expected = {row["file"]: row for row in map(json.loads, results.read_text().splitlines())}
    answered = {row["file"]: row for row in rows(tmp_path / "answers").values()}
    assert answered.keys() == expected.keys()
    for file, row in answered.items():
        values = {name: row[name] for name in ("level", "name", "probability", "model", "best_guess_constructor")}
        assert values == {name: expected[file].get(name) for name in values}
        assert bool(row["error"]) == bool(expected[file].get("error"))


@pytest.mark.chaos
def test_photo_that_kills_its_workers_is_the_only_one_without_a_prediction(
    tmp_path: Path, tiny_bundle: Path, photos: Path
) -> None:
    uris = [str(path) for path in sorted(photos.rglob("[!.]*.jpg"))] * 3
    poison = tmp_path / "poison.jpg"
    poison.write_bytes(Path(uris[0]).read_bytes())
    manifest = write_manifest(tmp_path / "manifest", [*uris, str(poison)])
    command = [sys.executable, "-m", "tests.bulk.poison", str(manifest), str(tmp_path / "answers"), str(tiny_bundle)]
    done = subprocess.run(
        [*command, str(poison)], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["deaths"] for line in done.stdout.splitlines()][-1] == 3
    answered = rows(tmp_path / "answers")
    assert len(answered) == 16
    assert {row["file"]: row["reason"] for row in answered.values() if row["reason"]} == {str(poison): "POISON_PHOTO"}


@pytest.mark.chaos
def test_kills_of_workers_nodes_and_driver_lose_and_repeat_no_photo(tmp_path: Path) -> None:
    kills = int(os.environ.get("PLANESPOTTER_CHAOS_KILLS", "3"))
    command = [sys.executable, "-m", "tests.bulk.chaos", "--kills", str(kills), "--photos", str(1500 + 300 * kills)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=1000)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["kills"]) == kills
    assert (result["missing"], result["duplicate"], result["reasons"]) == (0, 0, {})
    assert result["answered"] == result["photos"]
