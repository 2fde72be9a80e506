"""`planespotter classify --video`: frames of a file or a camera."""

import json
import sys
import threading
from pathlib import Path

import pytest
from tests.client.classify.command import csv_rows, run

from planespotter_client.classify import video as video_source


@pytest.fixture
def damaged_video(video: Path) -> Path:
    """The video with ten corrupt packets in the middle."""
    import av

    path = video.with_name("damaged.mkv")
    with av.open(str(video)) as intact, av.open(str(path), "w") as file:
        track = file.add_stream_from_template(intact.streams.video[0])
        for number, packet in enumerate(intact.demux(intact.streams.video[0])):
            if packet.dts is None:
                continue
            copy = av.Packet(b"\xff" * packet.size if 30 <= number < 40 else bytes(packet))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe = packet.is_keyframe
            copy.stream = track
            file.mux(copy)
    return path


def test_video_is_classified_frame_by_frame(
    address: str, video: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--video", "clip.mp4", "--server", address) == 0
    rows = sorted(csv_rows(capsys.readouterr().out), key=lambda row: float(row["seconds"]))
    assert [(row["file"], row["seconds"], row["model"]) for row in rows] == [
        ("clip.mp4", "0.000", "A320neo"),
        ("clip.mp4", "1.000", "A320neo"),
        ("clip.mp4", "2.000", "737-800"),
        ("clip.mp4", "3.000", "737-800"),
    ]
    assert run("--video", "clip.mp4", "--server", address, "--out", "clip.jsonl") == 0
    assert run("--video", "clip.mp4", "--server", address, "--out", "clip.jsonl", "--fps", 2) == 0
    output = capsys.readouterr()
    assert "4 photos in" in output.err
    assert "4 skipped" in output.err
    seconds = [json.loads(line)["seconds"] for line in Path("clip.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(seconds) == [0, 0.52, 1, 1.52, 2, 2.52, 3, 3.52]


def test_damaged_packets_are_skipped_and_counted_up_to_a_limit(
    address: str, damaged_video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--video", damaged_video.name, "--server", address) == 3
    output = capsys.readouterr()
    assert [row["model"] for row in csv_rows(output.out)].count("737-800") == 2
    assert " damaged packets of the video could not be decoded" in output.err
    monkeypatch.setattr(video_source, "MAX_DAMAGED_PACKETS", 5)
    with pytest.raises(video_source.VideoError, match="cannot be read to its end: Invalid data"):
        list(video_source.Video(str(damaged_video), fps=1.0).frames())


def test_video_can_be_closed_while_another_thread_reads_it(video: Path) -> None:
    opened = video_source.Video(str(video), fps=25.0)
    started = threading.Event()
    times = []

    def read() -> None:
        for frame in opened.frames():
            times.append(frame.time)
            started.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(60)
    opened.close()
    thread.join()
    assert times == sorted(times)
    assert list(opened.frames()) == []


def test_password_of_a_camera_is_redacted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--video", "rtsp://me:secret@127.0.0.1:1/door") == 1
    message = capsys.readouterr().err
    assert "rtsp://127.0.0.1:1/door cannot be opened as a video" in message
    assert "secret" not in message
    assert video_source.redact_credentials("http://planes.example/a@b.mp4") == "http://planes.example/a@b.mp4"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.mp4", "cannot be opened as a video: No such file"),
        ("photos/notes.txt", "cannot be opened as a video: Invalid data"),
    ],
)
def test_missing_or_invalid_video_is_reported(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    (here / "photos/notes.txt").write_text("not a video", encoding="utf-8")
    assert run("--video", name) == 1
    assert message in capsys.readouterr().err


def test_missing_pyav_names_the_video_extra(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert run("--video", "clip.mp4") == 1
    assert "[video]'" in capsys.readouterr().err


def test_frames_with_a_confident_prediction_are_saved_by_type(
    address: str, video: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--video", "clip.mp4", "--server", address, "--sort-into", "sorted")
    assert run(*arguments) == 0
    assert "4 photos filed in sorted (" in capsys.readouterr().err
    saved = sorted(str(path.relative_to("sorted")) for path in Path("sorted").rglob("*.jpg"))
    assert saved == [
        "Airbus/A320neo/clip 0.000.jpg",
        "Airbus/A320neo/clip 1.000.jpg",
        "Boeing/737-800/clip 2.000.jpg",
        "Boeing/737-800/clip 3.000.jpg",
    ]
    assert (here / "sorted" / saved[0]).read_bytes().startswith(b"\xff\xd8")
    assert run(*arguments) == 0
    assert "0 photos filed in sorted; 4 were there already." in capsys.readouterr().err
