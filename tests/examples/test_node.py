"""The Node.js example uses only the .proto files, so what it receives is what any language receives."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

NODE = Path(__file__).resolve().parents[2] / "examples" / "node"


@pytest.fixture(scope="module")
def program() -> Path:
    """The program with its two packages installed; git ignores them, and later runs reuse them."""
    for needed in ("node", "npm"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not on this machine, so the Node.js example is not tested")
    pinned = json.loads((NODE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    installed = {
        name: json.loads(file.read_text(encoding="utf-8"))["version"]
        for name in pinned
        if (file := NODE / "node_modules" / name / "package.json").is_file()
    }
    if installed != pinned:
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm could not fetch {', '.join(pinned)}: {done.stderr.strip()[-300:]}")
    return NODE / "classify.js"


def run(program: Path, address: str, *photos: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", str(program), address, *map(str, photos)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_each_streamed_photo_gets_a_prediction_or_an_error(program: Path, address: str, photos: Path) -> None:
    done = run(program, address, *sorted(photos.iterdir()))
    assert done.returncode == 0, done.stderr
    results = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert results[str(photos / "boeing.jpg")].startswith("Boeing 737-800 (")
    assert results[str(photos / "airbus.jpg")].startswith("Airbus A320neo (")
    assert "JPEG, PNG or WebP" in results[str(photos / "no photo.jpg")]


def test_more_photos_than_max_in_flight_all_get_results(
    program: Path, address: str, photos: Path, tmp_path: Path
) -> None:
    copies = [tmp_path / f"{index}.jpg" for index in range(200)]
    for copy in copies:
        copy.hardlink_to(photos / "boeing.jpg")
    done = run(program, address, *copies)
    assert done.returncode == 0, done.stderr
    assert sorted(line.split(": ")[0] for line in done.stdout.splitlines()) == sorted(map(str, copies))


def test_missing_server_is_an_error_message_and_exit_code_1(program: Path, photos: Path) -> None:
    done = run(program, "127.0.0.1:1", photos / "boeing.jpg")
    assert done.returncode == 1
    assert "UNAVAILABLE" in done.stderr
    assert "at main" not in done.stderr


def test_usage_is_printed_without_photos(program: Path) -> None:
    done = run(program, "127.0.0.1:1")
    assert (done.returncode, done.stderr) == (2, "usage: node classify.js HOST:PORT photo.jpg another.jpg\n")


def test_packages_are_pinned_without_a_lock_file() -> None:
    pinned = json.loads((NODE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert all(version[0].isdigit() for version in pinned.values())
    assert (NODE / ".npmrc").read_text(encoding="utf-8") == "package-lock=false\n"
    assert not (NODE / "package-lock.json").exists()
