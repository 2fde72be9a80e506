"""Groups of photos of one aircraft: `classify --group`, and `decide --group` from kept probabilities."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.client.classify.command import run
from tests.client.decide.test_decide import run as run_decide

from planespotter_client.classify.group_by import GroupBy, parse_group
from planespotter_client.classify.grouping import COUNTER, capture_time

Paint = Callable[..., bytes]


@pytest.fixture
def photos(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two bursts in two folders: an A320neo with a blurred photo, and a 747."""
    monkeypatch.chdir(tmp_path)
    for at, (name, shown) in enumerate(
        {
            "east/D-AIXY_1": "A320neo",
            "east/D-AIXY_2": "nothing known",
            "east/D-AIXY_3": "A320neo",
            "west/D-ABYT (1)": "747",
            "west/D-ABYT (2)": "747",
            "west/PH-BFA": "747",
        }.items()
    ):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(paint(shown))
        os.utime(path, (1000 + 2 * at, 1000 + 2 * at))
    os.utime(tmp_path / "photos/west/PH-BFA.jpg", (2000, 2000))
    return Path("photos")


def groups_of(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="") as lines:
        return {row["group"]: row for row in csv.DictReader(lines)}


def test_a_burst_has_one_prediction_next_to_those_of_its_photos(photos: Path, address: str) -> None:
    out = Path("results.parquet")
    assert run(photos, "--server", address, "--out", out, "--group", "prefix", "--quiet") == 0
    groups = groups_of(Path("results.groups.csv"))
    burst = groups["photos/east/D-AIXY"]
    assert (burst["photos"], burst["first"]) == ("3", "photos/east/D-AIXY_1.jpg")
    assert (burst["level"], burst["name"], burst["evidence"]) == ("model", "Airbus A320neo", "network")
    assert groups["photos/west/D-ABYT"]["photos"] == "2"
    assert groups["photos/west/PH-BFA"]["photos"] == "1"


def test_a_resumed_run_groups_the_photos_of_the_earlier_one_too(photos: Path, address: str) -> None:
    out = Path("results.parquet")
    assert run(photos / "east", "--server", address, "--out", out, "--group", "folder") == 0
    assert run(photos, "--server", address, "--out", out, "--group", "folder") == 0
    Path("results.groups.csv").unlink()
    assert run(photos, "--server", address, "--out", out, "--group", "folder") == 0  # nothing is left to classify
    assert {name: row["photos"] for name, row in groups_of(Path("results.groups.csv")).items()} == {
        "photos/east": "3",
        "photos/west": "3",
    }


def test_groups_are_drawn_on_a_terminal(photos: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos, "--server", address, "--format", "table", "--group", "folder") == 0
    out = capsys.readouterr().out
    assert "group" in out
    assert "Boeing 747" in out.splitlines()[-2]


def test_groups_by_time_end_after_a_pause_and_are_made_later_too(photos: Path, address: str) -> None:
    out = Path("results.parquet")
    assert run(photos, "--server", address, "--out", out, "--quiet") == 0
    assert run_decide(out, "--group", "seconds:3", "--out", "groups.csv") == 0
    groups = groups_of(Path("groups.csv"))
    assert {name: row["photos"] for name, row in groups.items()} == {
        "photos/east/D-AIXY_1.jpg": "3",
        "photos/west/D-ABYT (1).jpg": "2",
        "photos/west/PH-BFA.jpg": "1",
    }
    assert groups["photos/west/D-ABYT (1).jpg"]["last"] == "photos/west/D-ABYT (2).jpg"


def test_a_group_is_decided_by_the_minimum_probability_and_the_prior(photos: Path, address: str) -> None:
    out = Path("results.parquet")
    run(photos, "--server", address, "--out", out, "--quiet")
    options = ("--group", "folder", "--out", "groups.csv", "--overwrite")
    assert run_decide(out, *options, "--min-probability", "1") == 0
    assert groups_of(Path("groups.csv"))["photos/east"]["level"] == "unknown"
    assert run_decide(out, *options, "--candidates", "A320") == 0
    assert groups_of(Path("groups.csv"))["photos/east"]["evidence"] == "network+candidates"


@pytest.mark.slow
def test_a_video_has_a_prediction_for_each_track(video: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--video", video, "--fps", "1", "--group", "seconds:1.5", "--server", address)
    assert run(*arguments, "--out", "clip.parquet") == 0
    (group,) = groups_of(Path("clip.groups.csv")).values()
    assert group["photos"] == "4"
    assert "group" in capsys.readouterr().err


def test_the_time_of_a_photo_is_that_of_its_exif_data(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2026:05:17 12:30:00"
    for name, data in {"taken.jpg": exif, "plain.jpg": Image.Exif()}.items():
        Image.new("RGB", (8, 8)).save(tmp_path / name, exif=data)
        os.utime(tmp_path / name, (5000, 5000))
    assert capture_time(str(tmp_path / "plain.jpg")) == 5000
    assert capture_time(str(tmp_path / "taken.jpg")) > 1_700_000_000
    assert capture_time(str(tmp_path / "gone.jpg")) == 0


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("D-AIXY_1", "D-AIXY"), ("IMG 0815 (2)", "IMG 0815"), ("burst-003", "burst"), ("N747", "N"), ("plain", "plain")],
)
def test_a_prefix_ends_before_the_counter(name: str, prefix: str) -> None:
    assert COUNTER.sub("", name) == prefix


def test_what_the_photos_of_a_group_share_is_parsed() -> None:
    assert (parse_group("folder"), parse_group("seconds:2.5")) == (GroupBy("folder"), GroupBy("seconds", 2.5))


@pytest.mark.parametrize("text", ["burst", "seconds", "seconds:", "seconds:0", "seconds:-1", "seconds:inf", "folder:3"])
def test_an_unknown_group_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a group: write folder, prefix or seconds:N"):
        parse_group(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--group", "burst"), "'burst' is not a group"),
        (("--group", "folder", "--out", "a.csv"), "name a .parquet file with --out"),
        (("--group", "folder", "--format", "csv"), "--group needs --format table, or --out results.parquet"),
    ],
)
def test_wrong_usage_is_a_sentence(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[Any, ...], message: str
) -> None:
    assert run(photos, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
