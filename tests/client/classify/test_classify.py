"""`planespotter classify` against a real server: outputs, errors and exit codes."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.client.classify.command import csv_rows, files_in, run
from tests.client.processes import PLANESPOTTER

from planespotter_client.commands.main import main

Paint = Callable[..., bytes]
ALL = ["photos/737-800.jpg", "photos/A320neo.jpg", "photos/below/747.jpg"]


# Outputs


def test_output_is_csv_if_stdout_is_not_a_terminal(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--server", address) == 0
    rows = csv_rows(capsys.readouterr().out)
    assert {Path(row["file"]).stem: row["model"] or row["family"] for row in rows} == {
        "A320neo": "A320neo",
        "737-800": "737-800",
        "747": "747",
    }
    assert {row["level"] for row in rows} == {"model", "family"}


def test_json_lines_have_the_candidates(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "A320neo.JPG", "--server", address, "--format", "jsonl", "--top-k", 2) == 0
    [row] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["constructor"], row["model"], row["level"]) == ("Airbus", "A320neo", "model")
    assert list(row["candidates"][0]) == ["name", "constructor", "family", "model", "probability"]
    assert row["candidates"][0]["name"] == "Airbus A320neo"
    assert len(row["candidates"]) == 2


def test_table_is_drawn(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "A320neo.JPG", "--server", address, "--format", "table") == 0
    assert "Airbus" in capsys.readouterr().out


def test_probabilities_are_per_cent_in_a_table_and_decimals_in_csv(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    arguments = (folder / "A320neo.JPG", "--server", address, "--top-k", 6)
    assert run(*arguments, "--format", "table") == 0
    table = capsys.readouterr().out
    assert "Boeing 747 < 1 %" in table
    assert not re.search(r"\d%|e-|0\.\d", table)
    assert run(*arguments, "--format", "csv") == 0
    [row] = csv_rows(capsys.readouterr().out)
    cells = [row["model_probability"], *re.findall(r" (\S+)(?:;|$)", row["candidates"])]
    assert len(cells) == 1 + 6
    assert all(re.fullmatch(r"[01]\.\d{6}", cell) for cell in cells)


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii"])
@pytest.mark.parametrize("output_format", ["csv", "jsonl", "table"])
def test_any_file_name_can_be_written_in_any_encoding(
    address: str, paint: Paint, tmp_path: Path, encoding: str, output_format: str
) -> None:
    for name in ("avión.jpg".encode(), b"\xe9t\xe9.jpg"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(paint("747"))
    done = subprocess.run(
        [*PLANESPOTTER, "classify", tmp_path, "--server", address, "--format", output_format],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if output_format == "jsonl":
        names = {Path(json.loads(line)["file"]).name for line in done.stdout.splitlines()}
        assert names == {"avión.jpg", os.fsdecode(b"\xe9t\xe9.jpg")}
    else:
        assert b"\\udce9t\\udce9.jpg" in done.stdout


def test_broken_pipe_is_not_a_failure(address: str, folder: Path) -> None:
    many = [folder / "A320neo.JPG"] * 200
    with subprocess.Popen(
        [*PLANESPOTTER, "classify", *many, "--server", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"file,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_progress_bar_on_stderr_does_not_mix_with_stdout(address: str, folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*PLANESPOTTER, "classify", str(folder), "--server", address]
    terminal = b""

    def drain() -> None:  # an unread terminal blocks the process that writes to it
        nonlocal terminal
        with suppress(OSError):  # its end
            while piece := os.read(ours, 100_000):
                terminal += piece

    reader = threading.Thread(target=drain)
    reader.start()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert done.returncode == 0
    assert len(csv_rows(done.stdout)) == 3
    assert "photos/s" in terminal.decode()


def test_preserve_order_writes_results_in_the_order_of_the_photos(
    address: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [ALL[number % 3] for number in range(60)]
    assert run(*many, "--preserve-order", "--downscale", "--server", address) == 0
    assert [row["file"] for row in csv_rows(capsys.readouterr().out)] == many


def test_accuracy_against_the_ground_truth_is_printed(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "labels.csv"
    table.write_text(
        "file,constructor,family,model,source\n"
        "A320neo.JPG,Airbus,A320,A320neo,first\n"
        "737-800.JPG,Boeing,737,737 MAX 8,first\n"
        "below/747.JPG,Boeing,,,second\n"
        "below/747.JPG,ATR,72,,second\n",
        encoding="utf-8",
    )
    assert run("--ground-truth", table, "--server", address, "--show", 4) == 0
    output = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    accuracy = {row[0]: row[1:] for row in rows if len(row) == 6}
    assert accuracy["first"] == ["2", "100.0 % of 2", "50.0 % of 2", "-", "0"]
    assert accuracy["second"] == ["2", "100.0 % of 1", "-", "0.0 % of 1", "0"]
    assert accuracy["all"] == ["4", "100.0 % of 3", "50.0 % of 2", "0.0 % of 1", "0"]
    examples = [row for row in rows if len(row) == 4]
    assert len(examples) == 4
    assert examples[1][1] == "Boeing 737 MAX 8"
    assert examples[1][3] == "Boeing / 737 / 737-800"
    assert re.search(r"^4 photos in [\d.]+ s, [\d.]+ photos/s\.$", output, re.MULTILINE)


# Sources


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
def test_glob_patterns_are_expanded_without_a_shell(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], files: list[str]
) -> None:
    assert run(*arguments, "--server", address) == 0
    assert files_in(capsys.readouterr().out) == files


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("end", ["\n", "\0"])
def test_paths_are_read_from_standard_input(address: str, here: Path, end: str) -> None:
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


def test_empty_standard_input_is_reported(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert run("-") == 1
    assert "Standard input has no photos: it takes paths" in capsys.readouterr().err


def test_result_is_written_before_the_next_path_arrives(address: str, here: Path) -> None:
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


def test_empty_folder_is_reported(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--server", address) == 1
    assert "There are no photos" in capsys.readouterr().err


# Failed photos


def test_damaged_photo_is_named_and_changes_the_exit_code(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "damaged.jpg").write_bytes((folder / "A320neo.JPG").read_bytes()[:300])
    assert run(folder, "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 4
    assert "damaged.jpg: The photo is damaged or truncated" in output.err
    assert "1 of 4 photos failed" in output.err


def test_pipe_and_device_are_failed_photos_among_others(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "pipe.jpg")  # reading it would never end
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "album.jpg").mkdir()
    assert run(folder, folder / "album.jpg", "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 5
    for name in ("pipe.jpg", "endless.jpg"):
        assert f"{name} cannot be read: it is a folder, a pipe, a socket or a device" in output.err
    assert "2 of 5 photos failed" in output.err


def test_unreadable_folder_is_named_and_changes_the_exit_code(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def deny(path: Any) -> Any:
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert run(folder, "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 2
    assert f"{folder / 'below'}: The folder cannot be read (Permission denied)" in output.err


# Servers


def test_unreachable_server_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--server", "127.0.0.1:1") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "No planespotter server responds at 127.0.0.1:1" in output.err


@pytest.mark.parametrize("server", ["", "127.0.0.1:", "ftp://127.0.0.1:50051", "127.0.0.1:99999"])
def test_invalid_address_is_reported(server: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--server", server) == 1
    assert "The address is invalid" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.e2e
def test_killed_server_leaves_the_results_so_far_and_the_number_of_missing_ones(
    tiny_bundle: Path, folder: Path
) -> None:
    server = subprocess.Popen(
        [
            *PLANESPOTTER,
            "serve",
            "--model",
            tiny_bundle,
            "--port",
            "0",
            "--max-in-flight-per-stream",
            "2",
            "--batch-sizes",
            "1",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline().split()[-1]
    total = 5_000
    photos = [folder / "A320neo.JPG"] * total
    with subprocess.Popen(
        [*PLANESPOTTER, "classify", *photos, "--server", address, "--reconnect-timeout", "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        assert client.stderr is not None
        lines = [client.stdout.readline() for _ in range(3)]
        server.kill()
        server.communicate()
        lines += client.stdout.readlines()
        errors = client.stderr.read()
    assert client.returncode == 1
    missing = total - (len(lines) - 1)
    assert missing > 0
    assert re.search(rf"{missing:,} of {total:,} photos ha(s|ve) no result, because the stream was aborted", errors)
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.e2e
def test_local_server_is_started_if_there_is_none_and_stopped_at_the_end(
    tiny_bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "TOKENS",
        "TLS_CERT",
        "TLS_KEY",
        "METRICS_PORT",
        "MODEL_REPOSITORY",
        "HOST",
    ):  # of a server for other machines
        monkeypatch.setenv(f"PLANESPOTTER_{name}", "does not exist")
    assert run(folder, "--model", tiny_bundle, "--format", "csv") == 0
    rows = csv_rows(capsys.readouterr().out)
    assert {row["constructor"] for row in rows} == {"Airbus", "Boeing"}
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"serve --port 0 --model {tiny_bundle}" not in running


@pytest.mark.slow
@pytest.mark.e2e
def test_invalid_bundle_is_reported_and_excludes_a_server(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    assert run(folder, "--model", empty) == 1
    message = capsys.readouterr().err
    assert f"{empty}" in message
    assert "Or name a server with --server HOST:PORT." in message
    assert run(folder, "--model", empty, "--server", "127.0.0.1:1") == 2
    assert "--model starts a server" in capsys.readouterr().err


# Filing


def test_photos_are_filed_by_what_they_show(address: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run("photos", "--server", address, "--sort-into", "photos/sorted") == 0
        filed = sorted(str(path.relative_to("photos/sorted")) for path in Path("photos/sorted").rglob("*.jpg"))
        assert filed == ["Airbus/A320neo/A320neo.jpg", "Boeing/737-800/737-800.jpg", "Boeing/747/747.jpg"]
        output = capsys.readouterr()
        assert output.out == ""
        assert "3 photos in" in output.err


def test_photo_deleted_before_it_is_filed_does_not_stop_the_others(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from planespotter_client.classify import filing

    file_photo = filing.file_photo

    def delete_first(photo: str, *rest: Any) -> filing.FiledPhoto:
        if "A320neo" in photo:
            Path(photo).unlink()
        return file_photo(photo, *rest)

    monkeypatch.setattr(filing, "file_photo", delete_first)
    assert run("photos", "--server", address, "--sort-into", "sorted", "--out", "results.csv") == 3
    assert "A320neo.jpg was moved or deleted" in capsys.readouterr().err
    assert len(list(here.glob("sorted/**/*.jpg"))) == 2
    assert Path("results.csv").read_text(encoding="utf-8").count("photos/") == 3


# Start-up


def test_importing_the_sdk_loads_no_heavy_dependency() -> None:
    script = "import sys, planespotter_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "numpy", "pandas", "playwright", "PIL", "planespotter_training"} & set(loaded)


def test_help_shows_defaults_and_wraps_paragraphs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    for command, texts in {
        "serve": ["(default: 50051)", "(default: 64)", "(default: 127.0.0.1)", "A second signal stops immediately."],
        "classify": ["else table on a terminal, else csv)", "Each failed photo is named on stderr with the reason"],
        "demo": [],
    }.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        for text in texts:
            assert text in shown
