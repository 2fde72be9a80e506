"""Wheel: its content, and the commands when installed with the base dependencies only."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


def call(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=1200)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    done = call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, REPOSITORY)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    python = folder / "bin" / "python"
    install = ("install", "-q", "--no-compile", "-c", REPOSITORY / "constraints.txt", wheel)
    done = call(
        sys.executable, "-m", "pip", "--python", python, *install
    )  # an environment with its own pip takes longer to create
    assert done.returncode == 0, done.stderr
    return python


def test_wheel_contains_all_packages_and_their_data_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "planespotter",
        *(
            f"planespotter_{package}"
            for package in ("photos", "scraping", "training", "models", "server", "bulk", "client")
        ),
    }
    assert "planespotter/v1/classifier_pb2.pyi" in names
    assert "planespotter/v1/classifier.proto" in names
    assert any(name.startswith("planespotter_scraping/sample_site/static/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_client_imports_with_the_base_dependencies_only(python: Path) -> None:
    done = call(python, "-c", "import planespotter_client as p; print(p.PlaneSpotter.__name__)")
    assert done.stdout.strip() == "PlaneSpotter", done.stderr
    assert call(python, "-c", "import jax").returncode != 0


def test_command_with_a_missing_extra_names_the_extra(python: Path, tmp_path: Path) -> None:
    command = python.parent / "planespotter"
    listed = call(command, "--help").stdout
    for name in ("scrape", "train", "export", "evaluate", "serve", "classify", "bulk", "demo"):
        assert name in listed
    for arguments, extra in (
        (("scrape", "--site", "sample", "--out", tmp_path / "x"), "scraping"),
        (("train", tmp_path, "--out", tmp_path / "x"), "training"),
        (("serve", "--model", tmp_path), "server"),
        (("bulk", "list", tmp_path, "--out", tmp_path / "x"), "bulk"),
    ):
        done = call(command, *arguments)
        assert done.returncode == 1
        assert f"pip install '.[{extra}]' in a checkout" in done.stderr
        assert "Traceback" not in done.stderr
