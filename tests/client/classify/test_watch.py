"""`planespotter classify --watch`: photos that arrive in a folder, also while the server is lost."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.classify.command import csv_rows, files_in, wait_until
from tests.client.processes import PLANESPOTTER, serving

from planespotter_server.auth.file_watcher import POLL_INTERVAL
from planespotter_server.auth.tokens import add_token, revoke_token

Paint = Callable[..., bytes]
ALL = ["photos/737-800.jpg", "photos/A320neo.jpg", "photos/below/747.jpg"]


@pytest.mark.slow
@pytest.mark.e2e
def test_folder_is_watched_until_ctrl_c(address: str, here: Path, paint: Paint) -> None:
    out = here / "seen.csv"
    command = [*PLANESPOTTER, "classify", "--watch", "photos", "--server", address, "--out", str(out)]

    def answered() -> list[str]:
        return files_in(out.read_text(encoding="utf-8")) if out.exists() else []

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        wait_until(lambda: answered() == ALL)
        (here / "photos/half.jpg").write_bytes(paint("747")[:300])
        (here / "photos/.new.jpg.part").write_bytes(paint("A320neo"))
        (here / "photos/.new.jpg.part").rename(here / "photos/new.jpg")
        wait_until(lambda: len(answered()) == 4)
        assert "photos/half.jpg" not in answered()
        (here / "photos/half.jpg").write_bytes(paint("747"))
        wait_until(lambda: len(answered()) == 5)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted. 5 photos answered and stored in " in errors
    assert "Run the same command again to resume." in errors
    assert answered() == sorted([*ALL, "photos/half.jpg", "photos/new.jpg"])


@pytest.mark.slow
@pytest.mark.e2e
def test_watch_survives_a_lost_server(tiny_bundle: Path, here: Path, paint: Paint, reserved_port: int) -> None:
    def serve() -> "subprocess.Popen[str]":
        command = [*PLANESPOTTER, "serve", "--model", str(tiny_bundle), "--port", str(reserved_port)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    server = serve()
    assert server.stdout
    address = server.stdout.readline().split()[-1]
    command = [*PLANESPOTTER, "classify", "--watch", "photos", "--server", address]
    command += ["--reconnect-timeout", "20", "--format", "table"]
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


@pytest.mark.slow
@pytest.mark.e2e
def test_photos_that_arrive_after_a_token_was_revoked_are_answered_with_the_next_one(
    tiny_bundle: Path, here: Path, paint: Paint
) -> None:
    tokens, token_file, out = here / "tokens.txt", here / "token", here / "seen.csv"
    token_file.write_text(add_token(tokens, "camera"))
    with serving(tiny_bundle, tokens=tokens) as (address, _):
        command = [*PLANESPOTTER, "classify", "--watch", "photos", "--server", address, "--out", str(out)]
        command += ["--token-file", str(token_file)]

        def answered() -> int:
            return len(files_in(out.read_text())) if out.exists() else 0

        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: answered() == 3)
            revoke_token(tokens, "camera")
            (here / "photos/new.jpg").write_bytes(paint("747"))
            assert process.stderr
            errors = process.stderr.read()
            assert process.wait() == 1
        assert "The token is unknown" in errors
        assert answered() == 3
        token_file.write_text(add_token(tokens, "camera-2"))
        time.sleep(2 * POLL_INTERVAL)  # the server notices a change of the file up to a second later
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: answered() == 4)
            process.send_signal(signal.SIGINT)
        assert [row["error"] for row in csv_rows(out.read_text())] == 4 * [""]


@pytest.mark.slow
@pytest.mark.e2e
def test_snapshot_gets_a_row_for_each_change_also_for_one_while_the_command_is_stopped(
    address: str, here: Path, paint: Paint
) -> None:
    out = here / "seen.jsonl"
    command = [*PLANESPOTTER, "classify", "--watch", "photos", "--again", "--server", address, "--out", str(out)]

    def names() -> list[str]:
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return [row["name"] for row in rows if row["file"] == "photos/737-800.jpg"]

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: names() == ["Boeing 737-800"])
            (here / "photos/737-800.jpg").write_bytes(paint("A380"))
            wait_until(lambda: names() == ["Boeing 737-800", "Airbus A380"])
        finally:
            process.send_signal(signal.SIGINT)
    (here / "photos/737-800.jpg").write_bytes(paint("747"))  # while the command is stopped
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: names() == ["Boeing 737-800", "Airbus A380", "Boeing 747"])
            (here / "photos/new.jpg").write_bytes(paint("747"))
            wait_until(lambda: '"photos/new.jpg"' in out.read_text())
        finally:
            process.send_signal(signal.SIGINT)
    assert len(out.read_text().splitlines()) == 3 + 2 + 1, "photos that have not changed are skipped"
