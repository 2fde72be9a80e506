"""`planespotter classify --out`: a later run resumes the output file."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.classify.command import files_in, run, wait_until
from tests.client.processes import PLANESPOTTER

Paint = Callable[..., bytes]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_second_run_sends_only_photos_without_a_result(
    address: str, here: Path, paint: Paint, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = f"results.{suffix}"
    (here / "photos/damaged.jpg").write_bytes(paint("747")[:300])
    assert run("photos", "--server", address, "--out", out) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(r"^4 photos in .* photos/s: Boeing 2, Airbus 1, failed 1\.$", output.err, re.MULTILINE)
    (here / "photos/new.jpg").write_bytes(paint("A320neo"))
    assert run("photos", "--server", address, "--out", out) == 3, "one photo has failed"
    output = capsys.readouterr()
    assert "1 photo in " in output.err
    assert "4 skipped, as an earlier run answered them." in output.err
    assert "Of the skipped ones, 1 had failed; --retry-failed retries them" in output.err
    assert run("photos", "--server", "127.0.0.1:1", "--out", out) == 3, "no photo is left, so no server is called"
    assert "has a result for each of the 5 photos, by tiny 1. 1 of them failed" in capsys.readouterr().err
    (here / "photos/damaged.jpg").write_bytes(paint("747"))
    assert run("photos", "--server", address, "--out", out, "--retry-failed") == 0
    assert run("photos", "--server", address, "--out", out, "--overwrite") == 0
    assert "5 photos in" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_output_is_resumed_only_with_the_model_and_settings_of_its_manifest(
    address: str, here: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = Path(f"results.{suffix}")
    command = ["photos", "--out", out, "--server", address]
    assert run(*command, "--top-k", 2) == 0
    shutil.copy("photos/737-800.jpg", "photos/new.jpg")
    content = out.read_bytes()
    mismatches = {
        "was started with --top-k 2, and this run would append --top-k 0.": command,
        "was started with photos at full size, and this run would append --downscale.": [
            *command,
            "--top-k",
            2,
            "--downscale",
        ],
        "was started with results of first 7, and this run would append results of tiny 1.": [*command, "--top-k", 2],
    }
    manifest = Path(f".{out}.manifest")
    for message, mismatch in mismatches.items():
        if "first 7" in message:
            manifest.write_text(manifest.read_text(encoding="utf-8").replace("tiny 1", "first 7"), encoding="utf-8")
        assert run(*mismatch) == 1
        assert f"{out} {message} Use the same settings, name another --out" in capsys.readouterr().err
        assert out.read_bytes() == content
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("first 7", "tiny 1"), encoding="utf-8")
    assert run(*command, "--top-k", 2) == 0
    assert run(*command, "--overwrite") == 0
    out.unlink()
    assert run(*command, "--top-k", 1) == 0, "the manifest of a deleted output does not apply"
    Path("photos/new.jpg").rename("photos/newer.jpg")
    out = out.rename(f"moved.{suffix}")
    assert run("photos", "--out", out, "--server", address) == 0, "an output without a manifest is not checked"


@pytest.mark.slow
@pytest.mark.e2e
def test_killed_run_loses_no_written_result(address: str, here: Path) -> None:
    for number in range(1_500):
        (here / "photos" / f"{number:04}.jpg").hardlink_to(here / "photos/737-800.jpg")
    command = [*PLANESPOTTER, "classify", "photos", "--server", address, "--out", "results.csv"]
    out = here / "results.csv"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") > 20)
        process.kill()
    written = out.read_bytes()
    with out.open("ab") as file:
        file.write(b"photos/0000.jpg,mo")  # a kill in the middle of a line
    assert run("photos", "--server", address, "--out", "results.csv") == 0
    text = out.read_text(encoding="utf-8")
    assert text.encode().startswith(written[: written.rindex(b"\n") + 1])
    assert files_in(text) == sorted(f"photos/{path.relative_to('photos')}" for path in Path("photos").rglob("*.jpg"))


def test_run_without_a_server_is_resumed_by_the_same_command(
    address: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("photos", "--server", "127.0.0.1:1", "--out", "results.parquet") == 1
    assert "No planespotter server responds at 127.0.0.1:1" in capsys.readouterr().err
    assert run("photos", "--server", address, "--out", "results.parquet") == 0
