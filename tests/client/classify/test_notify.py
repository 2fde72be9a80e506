"""Events of a watched folder, posted to a receiver: which, how often, and that none is lost."""

import http.server
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.client.classify.command import run, wait_until
from tests.client.classify.results import result

from planespotter_client.classify.notify import EventDetector, Notifier, NotifyConfig, Outbox, check_url

Paint = Callable[..., bytes]
NOON = datetime(2026, 5, 17, 12).timestamp()
HOUR, DAY = 3600.0, 86400.0


class Receiver:
    """A receiver of events; the next posts get the status codes in `answers`, then 200."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.url = ""


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Idempotency-Key"] == event["id"]
            code = receiver.answers.pop(0) if receiver.answers else 200
            if code == 200:
                receiver.events.append(event)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook?secret=1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def config(url: str = "http://127.0.0.1:9/", outbox: Path = Path("outbox"), **values: Any) -> NotifyConfig:
    return NotifyConfig(url, outbox, **values)


def row(name: str = "Boeing 747", level: str = "family") -> dict[str, Any]:
    constructor, _, family = name.partition(" ")
    return {
        "file": "a.jpg",
        "level": level,
        "name": name,
        "constructor": constructor,
        "family": family,
        "probability": 0.9,
        "network": "tiny 1",
    }


def kinds(detector: EventDetector, now: float, **values: str) -> list[str]:
    return [event["event"] for event in detector.events(row(**values), now)]


def test_the_first_of_a_type_is_an_event_once_a_day() -> None:
    detector = EventDetector(config())
    assert kinds(detector, NOON) == ["first_of_type_today"]
    assert kinds(detector, NOON + HOUR) == []
    assert kinds(detector, NOON, name="Airbus A380") == ["first_of_type_today"]
    assert kinds(detector, NOON + DAY) == ["first_of_type_today"]


def test_a_restart_does_not_repeat_the_first_of_today() -> None:
    detector = EventDetector(config())
    detector.load({**row(), "time": datetime.fromtimestamp(NOON).astimezone().isoformat()})
    assert kinds(detector, NOON + HOUR) == []


def test_a_rare_type_is_an_event_once_enough_was_seen() -> None:
    detector = EventDetector(config(rare_share=0.05, rare_after=50))
    assert "rare_type" not in kinds(detector, NOON)
    for _ in range(60):
        detector.events(row("Airbus A320"), NOON)
    assert kinds(detector, NOON + HOUR) == ["rare_type"]
    assert kinds(detector, NOON + HOUR + 1) == []  # cooldown
    assert kinds(detector, NOON + 2 * HOUR) == ["rare_type"]
    assert kinds(detector, NOON + 3 * HOUR, name="Airbus A320") == []


def test_a_streak_without_a_confident_name_is_one_event() -> None:
    detector = EventDetector(config(streak=3))
    unknown = {"name": "unknown", "level": "unknown"}
    assert [kinds(detector, NOON + at, **unknown) for at in range(5)] == [[], [], ["low_confidence_streak"], [], []]
    kinds(detector, NOON)
    assert [kinds(detector, NOON + HOUR + at, **unknown) for at in range(3)][-1] == ["low_confidence_streak"]
    assert detector.events({"file": "broken.jpg", "error": "not a photo"}, NOON) == []


@pytest.mark.parametrize("code", [503, 429])
def test_an_event_is_retried_until_the_receiver_accepts_it(tmp_path: Path, code: int) -> None:
    reports: list[str] = []
    with receiving() as receiver:
        receiver.answers = [code, code]
        notifier = Notifier(config(receiver.url, tmp_path / "outbox"), reports.append, pause=0.01)
        notifier.add(result("a.jpg"), ())
        wait_until(lambda: receiver.events)
        notifier.close()
    (event,) = receiver.events
    assert (event["event"], event["file"], event["name"]) == ("first_of_type_today", "a.jpg", "Boeing 737-800")
    assert not (tmp_path / "outbox").exists()
    assert len(reports) == 1
    assert f"does not accept events (HTTP {code}). They wait and are retried." in reports[0]
    assert "secret" not in reports[0]


def test_an_event_that_the_receiver_rejects_is_reported_and_not_retried(tmp_path: Path) -> None:
    reports: list[str] = []
    with receiving() as receiver:
        receiver.answers = [400]
        notifier = Notifier(config(receiver.url, tmp_path / "outbox"), reports.append)
        notifier.add(result("a.jpg"), ())
        wait_until(lambda: reports)
        notifier.close()
    assert "rejects the event first_of_type_today with HTTP 400" in reports[0]
    assert receiver.events == []
    assert not (tmp_path / "outbox").exists()


def test_events_that_nobody_received_are_posted_by_the_next_run(tmp_path: Path) -> None:
    reports: list[str] = []
    outbox = tmp_path / "outbox"
    with receiving() as receiver:
        url = receiver.url
    notifier = Notifier(config(url, outbox), reports.append, pause=60)
    notifier.add(result("a.jpg"), ())
    wait_until(lambda: reports)
    notifier.close()
    assert "1 events wait in" in reports[-1]
    with outbox.open("a") as file:
        file.write('{"id": "cut off by a ki')
    with receiving() as receiver:
        later = Notifier(config(receiver.url, outbox), reports.append)
        wait_until(lambda: receiver.events)
        later.close()
    assert [event["file"] for event in receiver.events] == ["a.jpg"]
    assert not outbox.exists()


def test_a_full_outbox_drops_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planespotter_client.classify.notify.MAX_OUTBOX", 2)
    outbox = Outbox(tmp_path / "outbox")
    for at in range(3):
        outbox.add({"id": str(at)})
    assert outbox.first() == {"id": "1"}
    assert len(Outbox(tmp_path / "outbox")) == outbox.dropped + 1 == 2


@pytest.mark.slow
def test_a_killed_watch_posts_its_events_when_it_is_started_again(tmp_path: Path, paint: Paint, address: str) -> None:
    photos, out = tmp_path / "photos", tmp_path / "seen.csv"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(paint("747"))
    with receiving() as receiver:
        url = receiver.url
    command = [sys.executable, "-m", "planespotter_client.commands.main", "classify", "--watch", str(photos)]
    command += ["--server", address, "--out", str(out), "--notify", url]
    outbox = tmp_path / ".seen.csv.outbox"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as watching:
        wait_until(outbox.exists)
        watching.kill()
    port = int(url.rpartition(":")[2].partition("/")[0])
    with receiving(port) as receiver, subprocess.Popen(command, stderr=subprocess.DEVNULL) as watching:
        wait_until(lambda: receiver.events)
        (photos / "b.jpg").write_bytes(paint("747"))
        (photos / "c.jpg").write_bytes(paint("A380"))
        wait_until(lambda: len(receiver.events) > 1)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    assert [event["name"] for event in receiver.events] == ["Boeing 747", "Airbus A380"]
    assert len({event["id"] for event in receiver.events}) == 2
    assert not outbox.exists()


@pytest.mark.parametrize("url", ["planes.example/hook", "ftp://planes.example/", "http://", "file:///etc/passwd"])
def test_a_url_that_takes_no_posts_is_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL to post to: write http://HOST/PATH"):
        check_url(url)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.jpg", "--notify", "http://127.0.0.1/"), "--notify needs --watch or --video"),
        (("--watch", ".", "--notify", "http://127.0.0.1/"), "--notify needs --out"),
        (("--watch", ".", "--out", "a.csv", "--notify", "hook"), "'hook' is not a URL to post to"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
