"""`planespotter classify` with all that people do with it, against a real server."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from planespotter_client.classify import filing
from planespotter_client.classify import video as video_source
from planespotter_client.commands.main import build_app, main

Paint = Callable[..., bytes]
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


@pytest.fixture
def here(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos named for what they show."""
    for name in ("A320neo", "737-800", "below/747"):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(paint(path.stem))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["classify", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def files_in(answers: str) -> list[str]:
    return sorted(row["file"] for row in csv.DictReader(io.StringIO(answers)))


def until(condition: Callable[[], Any]) -> Any:
    """Wait, five minutes at most, until `condition` is true."""
    for _ in range(6000):
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing happened within five minutes")


ALL = ["photos/737-800.jpg", "photos/A320neo.jpg", "photos/below/747.jpg"]


# What to classify


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["photos"], ALL),
        (["photos/*"], ALL),
        (["photos/**/*.jpg"], ALL),
        (["photos/7*", "photos/b*/*.jpg"], [ALL[0], ALL[2]]),
        (["--no-recursive", "photos"], ALL[:2]),
    ],
)
def test_patterns_are_understood_where_no_shell_did(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], files: list[str]
) -> None:
    assert run(*arguments, "--server", address) == 0
    assert files_in(capsys.readouterr().out) == files


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_paths_come_on_standard_input(address: str, here: Path, end: str) -> None:
    null = ["--null"] if end == "\0" else []
    done = subprocess.run(
        [*PLANESPOTTER, "classify", "-", *null, "--server", address],
        input=end.join(["photos/below", ALL[0], "nowhere.jpg"]),
        capture_output=True,
        text=True,
    )
    assert files_in(done.stdout) == ["nowhere.jpg", ALL[0], ALL[2]]
    assert done.returncode == 3
    assert "nowhere.jpg cannot be read: No such file" in done.stderr


def test_no_paths_on_standard_input_get_a_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert run("-") == 1
    assert "No photos came on standard input: it takes paths" in capsys.readouterr().err


def test_an_answer_is_written_before_the_next_path_is_there(address: str, here: Path) -> None:
    command = [*PLANESPOTTER, "classify", "-", "--server", address, "--format", "jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for path in ALL:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["file"] == path
        process.stdin.close()
    assert process.returncode == 0


def test_answers_come_in_the_order_of_the_photos_on_request(
    address: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [ALL[number % 3] for number in range(60)]
    assert run(*many, "--ordered", "--shrink", "--server", address) == 0
    assert [row["file"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == many


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg", "*.gif"], "there is nothing at nowhere.jpg, *.gif"),
        (["photos", "--watch", "photos"], "one of --truth, --watch and --frames"),
        (["photos", "--out", "answers.txt"], "ends in none of .csv, .jsonl, .ndjson, .parquet"),
        (["photos", "--out", "answers.csv", "--format", "table"], "a table is for the terminal"),
        (["photos", "--format", "parquet"], "Parquet needs a file"),
        (["photos", "--overwrite"], "belong to --out"),
        (["photos", "--link", "hard"], "--link belongs to --sort-into"),
        (["photos", "--null"], "--null belongs to -"),
        (["photos", "--format", "json"], "for '--format': 'json' is not one of 'table', 'csv', 'jsonl', 'parquet'."),
        (["photos", "--alternatives", "-1"], "for '--alternatives': it must be 0 or more, not -1."),
        (["photos", "--alternatives", "few"], "for '--alternatives': it must be a whole number, not few."),
        (["--frames", "a.mp4", "--fps", "1001"], "for '--fps': it must be 1,000 or less, not 1001."),
        (["--frames", "a.mp4", "--fps", "two"], "for '--fps': it must be a number, not two."),
        (["photos", "--fps", "2"], "--fps belongs to --frames"),
        (["photos/", "--sort-into", "photos"], "is the folder whose photos are read, and what is filed is never"),
        (["--watch", "photos", "--sort-into", "./photos"], "name another, such as photos/by-type."),
        (["--frames", "a.mp4", "--sort-into", "sorted"], "a frame of a video is in no file"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(*arguments) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


# Going on


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_second_run_does_only_what_is_left(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = f"answers.{suffix}"
    (here / "photos/damaged.jpg").write_bytes(paint("747")[:300])
    assert run("photos", "--server", address, "--out", out) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"^4 photos in .* photos/s: Boeing 2, Airbus 1, failed 1\.$", said.err, re.MULTILINE)
    (here / "photos/new.jpg").write_bytes(paint("A320neo"))
    assert run("photos", "--server", address, "--out", out) == 3, "one still has no answer"
    assert "1 photo in " in (said := capsys.readouterr()).err
    assert "4 had an answer before." in said.err
    assert "1 had failed; --retry-failed tries them again" in said.err
    assert run("photos", "--server", "127.0.0.1:1", "--out", out) == 3, "there is nothing to ask a server for"
    assert "has an answer for each of the 5 photos, by tiny 1. 1 of them failed" in capsys.readouterr().err
    (here / "photos/damaged.jpg").write_bytes(paint("747"))
    assert run("photos", "--server", address, "--out", out, "--retry-failed") == 0
    assert run("photos", "--server", address, "--out", out, "--overwrite") == 0
    assert "5 photos in" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_is_gone_on_with_by_the_network_and_the_settings_that_it_was_begun_with(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = Path(f"answers.{suffix}")
    asked = ["photos", "--out", out, "--server", address]
    assert run(*asked, "--alternatives", 2) == 0
    shutil.copy(ALL[0], "photos/new.jpg")
    before = out.read_bytes()
    others = {
        "was begun with --alternatives 2, and this would add --alternatives 0.": asked,
        "was begun with photos as they are, and this would add --shrink.": [*asked, "--alternatives", 2, "--shrink"],
        "was begun with answers of first 7, and this would add answers of tiny 1.": [*asked, "--alternatives", 2],
    }
    noted = Path(f".{out}.begun")
    for words, other in others.items():
        if "first 7" in words:
            noted.write_text(noted.read_text(encoding="utf-8").replace("tiny 1", "first 7"), encoding="utf-8")
        assert run(*other) == 1
        assert f"{out} {words} Go on with what it was begun with, name another --out" in capsys.readouterr().err
        assert out.read_bytes() == before
    noted.write_text(noted.read_text(encoding="utf-8").replace("first 7", "tiny 1"), encoding="utf-8")
    assert run(*asked, "--alternatives", 2) == 0
    assert run(*asked, "--overwrite") == 0
    out.unlink()
    assert run(*asked, "--alternatives", 1) == 0, "what was deleted counts no more"
    Path("photos/new.jpg").rename("photos/newer.jpg")
    out = out.rename(f"moved.{suffix}")
    assert run("photos", "--out", out, "--server", address) == 0, "nobody knows with what it was begun"


@pytest.mark.slow
@pytest.mark.e2e
def test_a_killed_run_loses_nothing_that_was_written(address: str, here: Path) -> None:
    photo = here / ALL[0]
    for number in range(1_500):
        (here / "photos" / f"{number:04}.jpg").hardlink_to(photo)
    command = [*PLANESPOTTER, "classify", "photos", "--server", address, "--out", "answers.csv"]
    out = here / "answers.csv"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until(lambda: out.exists() and out.read_bytes().count(b"\n") > 20)
        process.kill()
    before = out.read_bytes()
    with out.open("ab") as file:
        file.write(b"photos/0000.jpg,mo")  # as a kill in the middle of a line leaves it
    assert run("photos", "--server", address, "--out", "answers.csv") == 0
    after = out.read_text(encoding="utf-8")
    assert after.encode().startswith(before[: before.rindex(b"\n") + 1])
    assert files_in(after) == sorted(f"photos/{path.relative_to('photos')}" for path in Path("photos").rglob("*.jpg"))


def test_a_lost_server_is_a_sentence_and_the_same_command_goes_on(
    address: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("photos", "--server", "127.0.0.1:1", "--out", "answers.parquet") == 1
    assert "No planespotter server answers at 127.0.0.1:1" in capsys.readouterr().err
    assert run("photos", "--server", address, "--out", "answers.parquet") == 0


# Filing


def test_photos_are_filed_by_what_they_show(address: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run("photos", "--server", address, "--sort-into", "photos/sorted") == 0
        filed = sorted(str(path.relative_to("photos/sorted")) for path in Path("photos/sorted").rglob("*.jpg"))
        assert filed == ["Airbus/A320neo/A320neo.jpg", "Boeing/737-800/737-800.jpg", "Boeing/747/747.jpg"]
        said = capsys.readouterr()
        assert said.out == ""
        assert "3 photos in" in said.err


# Watching


@pytest.mark.slow
@pytest.mark.e2e
def test_a_folder_is_watched_until_ctrl_c(address: str, here: Path, paint: Paint) -> None:
    out = here / "seen.csv"
    command = [*PLANESPOTTER, "classify", "--watch", "photos", "--server", address, "--out", str(out)]

    def seen() -> list[str]:
        return files_in(out.read_text(encoding="utf-8")) if out.exists() else []

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        until(lambda: seen() == ALL)
        (here / "photos/half.jpg").write_bytes(paint("747")[:300])
        (here / "photos/.new.jpg.part").write_bytes(paint("A320neo"))
        (here / "photos/.new.jpg.part").rename(here / "photos/new.jpg")
        until(lambda: len(seen()) == 4)
        assert "photos/half.jpg" not in seen()
        (here / "photos/half.jpg").write_bytes(paint("747"))
        until(lambda: len(seen()) == 5)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted. 5 photos answered and kept in " in said
    assert "Run the same command again to go on." in said
    assert seen() == sorted([*ALL, "photos/half.jpg", "photos/new.jpg"])


@pytest.mark.slow
@pytest.mark.e2e
def test_a_server_that_goes_away_is_waited_for(tiny_bundle: Path, here: Path, paint: Paint, kept_port: int) -> None:
    def serve() -> "subprocess.Popen[str]":
        command = [*PLANESPOTTER, "serve", "--model", str(tiny_bundle), "--port", str(kept_port)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    server = serve()
    assert server.stdout
    address = server.stdout.readline().split()[-1]
    command = [*PLANESPOTTER, "classify", "--watch", "photos", "--server", address, "--wait", "20", "--format", "table"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        lines = sorted(process.stdout.readline() for _ in ALL)
        assert [line.split(": ")[0] for line in lines] == ALL
        assert lines[1].startswith("photos/A320neo.jpg: Airbus A320neo (")
        server.kill()
        server.communicate()
        (here / "photos/new.jpg").write_bytes(paint("A320neo"))
        server = serve()
        assert process.stdout.readline().startswith("photos/new.jpg: Airbus A320neo")
        process.terminate()
        assert process.stdout.read() == ""
    assert process.returncode == 128 + signal.SIGTERM
    server.terminate()
    server.communicate()


def test_a_photo_that_goes_before_it_is_filed_does_not_hold_up_the_others(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file_photo = filing.file_photo

    def too_late(photo: str, *rest: Any) -> Path:
        if "A320neo" in photo:
            Path(photo).unlink()
        return file_photo(photo, *rest)

    monkeypatch.setattr(filing, "file_photo", too_late)
    assert run("photos", "--server", address, "--sort-into", "sorted", "--out", "answers.csv") == 3
    assert "A320neo.jpg was moved or deleted" in capsys.readouterr().err
    assert len(list(here.glob("sorted/**/*.jpg"))) == 2
    assert Path("answers.csv").read_text(encoding="utf-8").count("photos/") == 3


# Video


@pytest.fixture
def video(here: Path, paint: Paint) -> Path:
    """Four seconds at 25 frames a second: two of an A320neo, then two of a 737-800."""
    import av
    import numpy as np
    from PIL import Image

    path = here / "clip.mp4"
    with av.open(str(path), "w") as file:
        track = file.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 144, 96, "yuv420p"
        for name in ("A320neo", "737-800"):
            frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(io.BytesIO(paint(name)))))
            for _ in range(50):
                frame.pts = None
                file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return path


def test_a_video_is_classified_frame_by_frame(
    address: str, video: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--frames", "clip.mp4", "--server", address) == 0
    rows = sorted(csv.DictReader(io.StringIO(capsys.readouterr().out)), key=lambda row: float(row["seconds"]))
    assert [(row["file"], row["seconds"], row["model"]) for row in rows] == [
        ("clip.mp4", "0.000", "A320neo"),
        ("clip.mp4", "1.000", "A320neo"),
        ("clip.mp4", "2.000", "737-800"),
        ("clip.mp4", "3.000", "737-800"),
    ]
    assert run("--frames", "clip.mp4", "--server", address, "--out", "clip.jsonl") == 0
    assert run("--frames", "clip.mp4", "--server", address, "--out", "clip.jsonl", "--fps", 2) == 0
    assert "4 photos in" in (said := capsys.readouterr()).err
    assert "4 had an answer before" in said.err
    seconds = [json.loads(line)["seconds"] for line in Path("clip.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(seconds) == [0, 0.52, 1, 1.52, 2, 2.52, 3, 3.52]


@pytest.fixture
def damaged_video(video: Path) -> Path:
    """The same with ten packets in the middle that hold nothing sensible."""
    import av

    path = video.with_name("damaged.mkv")
    with av.open(str(video)) as whole, av.open(str(path), "w") as file:
        track = file.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(whole.streams.video[0])):
            if packet.dts is None:
                continue
            content = b"\xff" * packet.size if 30 <= number < 40 else bytes(packet)
            made = av.Packet(content)
            made.pts, made.dts, made.time_base, made.is_keyframe = (
                packet.pts,
                packet.dts,
                packet.time_base,
                packet.is_keyframe,
            )
            made.stream = track
            file.mux(made)
    return path


def test_what_cannot_be_decoded_of_a_video_is_left_out_and_counted(
    address: str, damaged_video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--frames", damaged_video.name, "--server", address) == 3
    said = capsys.readouterr()
    assert [row["model"] for row in csv.DictReader(io.StringIO(said.out))].count("737-800") == 2
    assert " damaged parts of the video could not be decoded" in said.err
    monkeypatch.setattr(video_source, "MOST_DAMAGED", 5)
    with pytest.raises(video_source.FramesError, match="cannot be read on: Invalid data"):
        list(video_source.Video(str(damaged_video), fps=1.0).frames())


def test_a_video_can_be_closed_while_another_thread_reads_it(video: Path) -> None:
    reading = video_source.Video(str(video), fps=25.0)
    begun = threading.Event()
    seen = []

    def read() -> None:
        for frame in reading.frames():
            seen.append(frame.seconds)
            begun.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert begun.wait(60)
    reading.close()
    thread.join()
    assert seen == sorted(seen)
    assert list(reading.frames()) == []


def test_the_password_of_a_camera_is_written_nowhere(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--frames", "rtsp://me:secret@127.0.0.1:1/door") == 1
    said = capsys.readouterr().err
    assert "rtsp://127.0.0.1:1/door cannot be opened as a video" in said
    assert "secret" not in said
    assert video_source.without_password("http://planes.example/a@b.mp4") == "http://planes.example/a@b.mp4"


@pytest.mark.parametrize(
    ("video", "words"),
    [
        ("nowhere.mp4", "cannot be opened as a video: No such file"),
        ("photos/notes.txt", "cannot be opened as a video: Invalid data"),
    ],
)
def test_what_is_no_video_gets_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], video: str, words: str
) -> None:
    (here / "photos/notes.txt").write_text("no video", encoding="utf-8")
    assert run("--frames", video) == 1
    assert words in capsys.readouterr().err


def test_without_its_extra_a_video_gets_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert run("--frames", "clip.mp4") == 1
    assert "pip install 'planespotter[video]'" in capsys.readouterr().err


# The examples of its help


@pytest.mark.slow
def test_the_examples_in_its_help_run(address: str, here: Path, video: Path) -> None:
    bin_folder = here / "bin"
    bin_folder.mkdir()
    command = bin_folder / "planespotter"
    command.write_text(f'#!/bin/sh\nshift\nexec {shlex.join(PLANESPOTTER)} classify --server {address} "$@"\n')
    command.chmod(0o755)
    (here / "photo.jpg").write_bytes((here / ALL[0]).read_bytes())
    for name in ("archive", "catalog"):
        shutil.copytree("photos", name)
    video.rename("approach.mp4")
    (here / "held_out.csv").write_text("file,constructor,family,model,source\nA320neo.jpg,Airbus,A320,,here\n")
    help_text = typer.main.get_command(build_app()).commands["classify"].help  # type: ignore[attr-defined]
    examples = re.findall(r"^Example: (.+)$", help_text, re.MULTILINE)
    cheap = [line for line in examples if not re.search(r"--(model|server|watch) ", line)]
    assert len(cheap) >= 6
    for line in cheap:
        done = subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, (line, done.stderr)
    made = {"answers.csv", "answers.parquet", "approach.csv", "by-type"}
    assert made <= {path.name for path in here.iterdir()}
