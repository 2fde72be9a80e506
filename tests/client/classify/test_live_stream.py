"""`planespotter classify --video` with a camera: times of day, lost connections, and a second run."""

import http.server
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.client.classify.command import csv_rows, wait_until
from tests.client.processes import PLANESPOTTER

Paint = Callable[..., bytes]


class Camera(http.server.ThreadingHTTPServer):
    """An MJPEG camera that sends ten pictures per second, and hangs up after `pictures` of them."""

    daemon_threads = True

    def __init__(self, picture: bytes, pictures: int) -> None:
        super().__init__(("127.0.0.1", 0), CameraRequest)
        self.picture = picture
        self.pictures = pictures
        self.connections = 0
        self.url = f"http://127.0.0.1:{self.server_port}/"


class CameraRequest(http.server.BaseHTTPRequestHandler):
    server: Camera

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.server.picture)}\r\n\r\n".encode()
        for _ in range(self.server.pictures):
            self.wfile.write(head + self.server.picture + b"\r\n")
            time.sleep(0.1)


@pytest.fixture
def camera(paint: Paint) -> Iterator[Camera]:
    with Camera(paint("747"), pictures=20) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def watch_camera(camera: Camera, address: str, out: Path, until: Callable[[], object]) -> tuple[str, int]:
    """Classify the frames of a camera until a condition is true; return stderr and the exit code."""
    command = [*PLANESPOTTER, "classify", "--video", camera.url, "--fps", "5", "--out", str(out), "--server", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            wait_until(until)
        finally:
            process.send_signal(signal.SIGINT)
        return process.stderr.read(), process.wait()


@pytest.mark.slow
@pytest.mark.e2e
def test_camera_that_hangs_up_is_connected_again_and_a_second_run_appends(
    camera: Camera, address: str, tmp_path: Path
) -> None:
    out = tmp_path / "days" / "camera.csv"
    started = datetime.now().astimezone()

    def rows() -> list[dict[str, str]]:
        return csv_rows(out.read_text(encoding="utf-8")) if out.exists() else []

    errors, code = watch_camera(camera, address, out, lambda: camera.connections >= 3)
    assert code == 130
    assert f"{camera.url} " in errors
    assert "Connecting again in 1 s, until Ctrl-C." in errors
    first = rows()
    assert {row["file"] for row in first} == {camera.url}
    assert {row["seconds"] for row in first} == {""}
    assert {row["name"] for row in first} == {"Boeing 747"}
    _, code = watch_camera(camera, address, out, lambda: len(rows()) > len(first))
    assert code == 130
    # Frames that arrive together after a stall may be answered in any order.
    times = sorted(datetime.fromisoformat(row["time"]) for row in rows())
    assert rows()[: len(first)] == first
    assert {datetime.fromisoformat(row["time"]) for row in first} == set(times[: len(first)])
    assert all(moment.utcoffset() is not None for moment in times)
    assert started < times[0] < times[-1] < datetime.now().astimezone()
    assert times[len(first) - 1] - times[0] > timedelta(seconds=2), "the pauses between the connections count"
    connected = [moment for moment in times if moment - times[0] < timedelta(seconds=1.9)]
    assert len(connected) <= 11, "five frames per second by the clock, and no more"


def test_camera_that_cannot_be_reached_at_first_is_an_error(address: str, tmp_path: Path) -> None:
    command = [*PLANESPOTTER, "classify", "--video", "http://127.0.0.1:1/", "--server", address]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "http://127.0.0.1:1/ cannot be opened as a video: Connection refused." in done.stderr
