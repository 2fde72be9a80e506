"""`planespotter classify`: invalid options, and the examples in its help."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main
from tests.client.classify.command import run
from tests.client.processes import PLANESPOTTER

from planespotter_client.commands.main import build_app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg", "*.gif"], "there is nothing at nowhere.jpg, *.gif"),
        (["photos", "--watch", "photos"], "one of --ground-truth, --watch and --video"),
        (["photos", "--out", "results.txt"], "ends in none of .csv, .jsonl, .ndjson, .parquet"),
        (["photos", "--out", "results.csv", "--format", "table"], "a table is for the terminal"),
        (["photos", "--format", "parquet"], "Parquet needs a file"),
        (["photos", "--overwrite"], "--overwrite and --retry-failed need --out"),
        (["photos", "--link", "hard"], "--link needs --sort-into"),
        (["photos", "--null"], "--null needs -"),
        (["photos", "--again"], "--again needs --watch"),
        (
            ["photos", "--format", "json"],
            "for '--format': 'json' is not one of 'table', 'csv', 'excel', 'jsonl', 'parquet'.",
        ),
        (["photos", "--top-k", "-1"], "for '--top-k': it must be 0 or more, not -1."),
        (["photos", "--top-k", "few"], "for '--top-k': it must be a whole number, not few."),
        (["--video", "a.mp4", "--fps", "1001"], "for '--fps': it must be 1,000 or less, not 1001."),
        (["--video", "a.mp4", "--fps", "two"], "for '--fps': it must be a number, not two."),
        (["photos", "--fps", "2"], "--fps needs --video"),
        (["photos/", "--sort-into", "photos"], "is the source folder, and filed photos are never read again"),
        (["--watch", "photos", "--sort-into", "./photos"], "name another folder, such as photos/by-type."),
        (["--show", "3", "photos"], "--root and --show need --ground-truth"),
    ],
)
def test_option_that_excludes_or_needs_another_is_wrong_usage(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments", [[], ["/nowhere"], ["--show", "3", "."], ["--ground-truth", "pyproject.toml", "--format", "csv"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2


def test_top_k_above_the_limit_is_reported_without_output(
    address: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--server", address, "--top-k", 9999) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "from 0 to 20" in output.err


@pytest.mark.slow
def test_examples_in_the_help_run(address: str, here: Path, video: Path) -> None:
    bin_folder = here / "bin"
    bin_folder.mkdir()
    command = bin_folder / "planespotter"
    command.write_text(f'#!/bin/sh\nshift\nexec {shlex.join(PLANESPOTTER)} classify --server {address} "$@"\n')
    command.chmod(0o755)
    shutil.copy("photos/737-800.jpg", "photo.jpg")
    for name in ("archive", "catalog", "ramp"):
        shutil.copytree("photos", name)
    (here / "fleet.csv").write_text("airline,model\nLufthansa,A320neo\n")
    video.rename("approach.mp4")
    (here / "held_out.csv").write_text("file,constructor,family,model,source\nA320neo.jpg,Airbus,A320,,here\n")
    help_text = typer.main.get_command(build_app()).commands["classify"].help  # type: ignore[attr-defined]
    examples = re.findall(r"^Example: (.+)$", help_text, re.MULTILINE)
    runnable = [line for line in examples if not re.search(r"--(model|server|watch) ", line)]
    assert len(runnable) >= 6
    for line in runnable:
        done = subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, (line, done.stderr)
    outputs = {"results.csv", "results.parquet", "approach.csv", "by-type"}
    assert outputs <= {path.name for path in here.iterdir()}
