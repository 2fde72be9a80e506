"""The command `planespotter classify`."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planespotter_client.classify.file_discovery import find_photos
from planespotter_client.commands.main import main

Paint = Callable[..., bytes]
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Photos in folders, named for what they show, and a file that is none."""
    for name in ("A320neo", "737-800", "below/747"):
        path = tmp_path / f"{name}.JPG"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(paint(path.stem))
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["classify", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_folders_are_searched_for_photos(folder: Path) -> None:
    found = [str(Path(photo).relative_to(folder)) for photo in find_photos([folder])]
    assert found == ["737-800.JPG", "A320neo.JPG", "below/747.JPG"]
    assert len(list(find_photos([folder], recursive=False))) == 2
    assert list(find_photos([folder / "notes.txt"])) == [str(folder / "notes.txt")]


def test_it_writes_csv_where_no_terminal_is(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--server", address) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {Path(row["file"]).stem: row["model"] or row["family"] for row in rows} == {
        "A320neo": "A320neo",
        "737-800": "737-800",
        "747": "747",
    }
    assert {row["level"] for row in rows} == {"model", "family"}


def test_it_writes_json_lines(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "A320neo.JPG", "--server", address, "--format", "jsonl", "--alternatives", 2) == 0
    [row] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["constructor"], row["model"], row["level"]) == ("Airbus", "A320neo", "model")
    assert list(row["alternatives"][0]) == ["name", "constructor", "family", "model", "probability"]
    assert row["alternatives"][0]["name"] == "Airbus A320neo"
    assert len(row["alternatives"]) == 2


def test_it_draws_a_table(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "A320neo.JPG", "--server", address, "--format", "table") == 0
    assert "Airbus" in capsys.readouterr().out


def test_bad_photos_are_listed_and_change_the_exit_code(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "damaged.jpg").write_bytes((folder / "A320neo.JPG").read_bytes()[:300])
    assert run(folder, "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 4
    assert "damaged.jpg: The photo is damaged or truncated" in output.err
    assert "1 of 4 photos failed" in output.err


def test_no_server_gets_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--server", "127.0.0.1:1") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "No planespotter server answers at 127.0.0.1:1" in output.err


def test_what_is_no_file_is_one_bad_photo_among_others(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "pipe.jpg")  # reading it would never end
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "album.jpg").mkdir()
    assert run(folder, folder / "album.jpg", "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 5
    for name in ("pipe.jpg", "endless.jpg"):
        assert f"{name} cannot be read: it is no file with a content of its own" in output.err
    assert "2 of 5 photos failed" in output.err


def test_a_folder_that_cannot_be_looked_into_is_named_and_changes_the_exit_code(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def locked(path: Any) -> Any:
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert run(folder, "--server", address) == 3
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1 + 2
    assert f"{folder / 'below'}: The folder cannot be read (Permission denied)" in output.err


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii"])
@pytest.mark.parametrize("output_format", ["csv", "jsonl", "table"])
def test_any_file_name_can_be_written(
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


def test_a_reader_that_has_seen_enough_is_no_failure(address: str, folder: Path) -> None:
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


@pytest.mark.slow
@pytest.mark.e2e
def test_a_server_that_dies_leaves_what_was_written_and_a_count_of_what_is_missing(
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
    with subprocess.Popen(
        [*PLANESPOTTER, "classify", *[folder / "A320neo.JPG"] * total, "--server", address, "--wait", "10"],
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
        said = client.stderr.read()
    assert client.returncode == 1
    missing = total - (len(lines) - 1)
    assert missing > 0
    assert re.search(rf"{missing:,} of {total:,} photos ha(s|ve) no answer, because the stream broke off", said)
    assert "Traceback" not in said


def test_probabilities_are_per_cent_for_people_and_plain_decimals_for_programs(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    arguments = (folder / "A320neo.JPG", "--server", address, "--alternatives", 6)
    assert run(*arguments, "--format", "table") == 0
    table = capsys.readouterr().out
    assert "Boeing 747 < 1 %" in table
    assert not re.search(r"\d%|e-|0\.\d", table)
    assert run(*arguments, "--format", "csv") == 0
    [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
    cells = [row["model_probability"], *re.findall(r" (\S+)(?:;|$)", row["alternatives"])]
    assert len(cells) == 1 + 6
    assert all(re.fullmatch(r"[01]\.\d{6}", cell) for cell in cells)


def test_too_many_alternatives_get_a_sentence_and_no_output(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--server", address, "--alternatives", 9999) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "between 0 and 20" in output.err


@pytest.mark.parametrize("server", ["", "127.0.0.1", "http://127.0.0.1:50051", "127.0.0.1:99999"])
def test_what_is_no_address_gets_a_sentence(server: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--server", server) == 1
    assert "is no address of a server. Write HOST:PORT" in capsys.readouterr().err


def test_help_shows_the_defaults_and_lets_paragraphs_flow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    for command, words in {
        "serve": ["(default: 50051)", "(default: 64)", "(default: 127.0.0.1)", "A second signal stops immediately."],
        "classify": ["else table on a terminal, else csv)", "Each photo that fails is named on stderr as it"],
        "demo": [],
    }.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        for word in words:
            assert word in shown


@pytest.mark.parametrize(
    "arguments", [[], ["/nowhere"], ["--show", "3", "."], ["--truth", "pyproject.toml", "--format", "csv"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2


def test_an_empty_folder_gets_a_sentence(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--server", address) == 1
    assert "There are no photos" in capsys.readouterr().err


def test_a_progress_bar_on_the_terminal_leaves_the_output_alone(address: str, folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "planespotter_client.commands.main", "classify", str(folder), "--server", address]
    read = b""

    def drain() -> None:  # a terminal that nobody reads holds up who writes to it
        nonlocal read
        with contextlib.suppress(OSError):  # which is how its end is told
            while piece := os.read(ours, 100_000):
                read += piece

    reader = threading.Thread(target=drain)
    reader.start()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    bar = read.decode()
    assert done.returncode == 0
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 3
    assert "photos/s" in bar


def test_answers_are_compared_with_the_truth(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = folder / "truth.csv"
    truth.write_text(
        "file,constructor,family,model,source\n"
        "A320neo.JPG,Airbus,A320,A320neo,first\n"
        "737-800.JPG,Boeing,737,737 MAX 8,first\n"
        "below/747.JPG,Boeing,,,second\n"
        "below/747.JPG,ATR,72,,second\n",
        encoding="utf-8",
    )
    assert run("--truth", truth, "--server", address, "--show", 4) == 0
    output = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    figures = {row[0]: row[1:] for row in rows if len(row) == 6}
    assert figures["first"] == ["2", "100.0 % of 2", "50.0 % of 2", "-", "0"]
    assert figures["second"] == ["2", "100.0 % of 1", "-", "0.0 % of 1", "0"]
    assert figures["all"] == ["4", "100.0 % of 3", "50.0 % of 2", "0.0 % of 1", "0"]
    shown = [row for row in rows if len(row) == 4]
    assert len(shown) == 4
    assert shown[1][1] == "Boeing 737 MAX 8"
    assert shown[1][3] == "Boeing / 737 / 737-800"
    assert re.search(r"^4 photos in [\d.]+ s, [\d.]+ photos/s\.$", output, re.MULTILINE)


def test_importing_the_client_loads_nothing_heavy() -> None:
    script = "import sys, planespotter_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jax", "numpy", "pandas", "playwright", "PIL", "planespotter_training"} & set(loaded)


@pytest.mark.slow
@pytest.mark.e2e
def test_without_a_server_it_starts_one_for_itself_and_ends_it(
    tiny_bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKENS", "TLS_CERT", "TLS_KEY", "METRICS_PORT", "MODELS", "HOST"):  # of a server that others call
        monkeypatch.setenv(f"PLANESPOTTER_{name}", "nothing that is there")
    assert run(folder, "--model", tiny_bundle, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["constructor"] for row in rows} == {"Airbus", "Boeing"}
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"serve --port 0 --model {tiny_bundle}" not in running


def test_a_bundle_that_cannot_be_served_is_named_and_so_is_a_choice_too_many(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    assert run(folder, "--model", empty) == 1
    said = capsys.readouterr().err
    assert f"{empty}" in said
    assert "Or name a server with --server HOST:PORT." in said
    assert run(folder, "--model", empty, "--server", "127.0.0.1:1") == 2
    assert "--model starts a server" in capsys.readouterr().err
