"""Each program in examples/ runs unchanged."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_classify_photo_prints_the_prediction_its_path_and_the_candidates(address: str, photos: Path) -> None:
    first, constructor, *_, last = run("classify_photo.py", photos / "boeing.jpg", address).splitlines()
    assert first.startswith("Boeing 737-800 (")
    assert constructor.startswith("  Boeing: ")
    assert last.startswith("  ")


def test_folder_to_csv_writes_a_row_for_each_photo(address: str, photos: Path, tmp_path: Path) -> None:
    (photos / "below").mkdir()
    (photos / "boeing.jpg").rename(photos / "below" / "boeing.jpg")
    run("folder_to_csv.py", photos, tmp_path / "predictions.csv", address)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["photo"]).name: row for row in csv.DictReader(file)}
    assert {name: row["prediction"] for name, row in rows.items()} == {
        "boeing.jpg": "Boeing 737-800",
        "airbus.jpg": "Airbus A320neo",
        "no photo.jpg": "",
    }
    assert "JPEG, PNG or WebP" in rows["no photo.jpg"]["error"]


def test_asyncio_stream_classifies_an_async_source(address: str, photos: Path) -> None:
    out = run("asyncio_stream.py", address, photos / "boeing.jpg", photos / "airbus.jpg")
    assert f"{photos / 'boeing.jpg'} Boeing 737-800" in out
    assert f"{photos / 'airbus.jpg'} Airbus A320neo" in out


@pytest.mark.slow
def test_watch_folder_classifies_new_photos_until_interrupted(
    address: str, photos: Path, paint: Callable[..., bytes]
) -> None:
    command = [sys.executable, str(EXAMPLES / "watch_folder.py"), str(photos), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        seen = "".join(watching.stdout.readline() for _ in range(3))
        assert "boeing.jpg: Boeing 737-800" in seen
        (photos / "late.jpg").write_bytes(paint("747"))
        assert "late.jpg: Boeing 747" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(600) == 0


def test_several_servers_fail_over_from_a_missing_server(address: str, photos: Path) -> None:
    nobody = "127.0.0.1:1"
    good, bad = photos / "boeing.jpg", photos / "no photo.jpg"
    lines = run("several_servers.py", f"{nobody},{address}", good, bad, good, good).splitlines()
    assert [line.startswith(f"{good} Boeing 737-800 (") for line in lines] == [True, False, True, True]
    assert lines[1].startswith(f"{bad} failed: ")


def test_fleet_prior_prints_both_predictions(address: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("airline,model,share\nKLM,737-800,50\nSAS,A320neo,80\n")
    (line,) = run("fleet_prior.py", tmp_path / "fleet.csv", "KLM", photos / "boeing.jpg", address).splitlines()
    assert line == f"{photos / 'boeing.jpg'}: Boeing 737 737-800 (network+fleet), Boeing 737 737-800 (network)"


def test_errors_and_retries_prints_the_reason_and_continues(address: str, photos: Path) -> None:
    bad, missing, good = photos / "no photo.jpg", photos / "missing.jpg", photos / "boeing.jpg"
    lines = run("errors_and_retries.py", address, bad, missing, good).splitlines()
    assert lines[0].startswith(f"{bad} PHOTO_FORMAT_UNSUPPORTED ")
    assert lines[1].startswith(f"{missing} PHOTO_UNREADABLE ")
    assert lines[2].startswith(f"{good} Boeing 737-800 ")


def test_pandas_report_summarizes_a_folder(address: str, photos: Path) -> None:
    out = run("pandas_report.py", photos, address)
    assert "Boeing 737-800" in out
    assert "1 of 3 photos failed." in out


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_example_prints_its_usage_without_arguments(file: Path) -> None:
    usage = file.read_text(encoding="utf-8").splitlines()[2]
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"usage: {usage}\n")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_example_is_short_tested_and_documented(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    assert f"python {file.name} " in lines[2]
    assert f'run("{file.name}"' in Path(__file__).read_text(encoding="utf-8") or file.name == "watch_folder.py"
    assert f"examples/{file.name}" in (EXAMPLES.parent / "docs" / "calling.md").read_text(encoding="utf-8")


def test_review_corrections_prints_the_last_decision_about_each_photo(tmp_path: Path) -> None:
    shown = {"shown": ["Boeing", "737", "737-800"], "by": "Ann", "at": "2026-05-11T10:00:00+00:00"}
    new = {"constructor": "Airbus", "aircraft_type": "A320neo"}
    lines = [
        {"photo": "a.jpg", "decision": "accept", **shown},
        {"photo": "b.jpg", "decision": "correct", **shown, **new},
        {"photo": "c.jpg", "decision": "correct", **shown, **new},
        {"photo": "c.jpg", "decision": "undo", "by": "Ann", "at": shown["at"]},
    ]
    (tmp_path / "review.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("review_corrections.py", tmp_path).splitlines()[1:] == [
        "b.jpg,Boeing 737 737-800,Airbus,A320neo,Ann,2026-05-11T10:00:00+00:00"
    ]
