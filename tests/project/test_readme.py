"""README and docs: every command, option, target and extra exists, and the examples run."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

from planespotter_client.commands.main import build_app

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = [
    README,
    (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    *(page.read_text(encoding="utf-8") for page in sorted((REPOSITORY / "docs").glob("*.md"))),
]
SHELL = re.findall(r"```sh\n(.+?)\n```", README, re.DOTALL)
COMMANDS = [
    line.removeprefix("planespotter ")
    for page in PAGES
    for line in [
        *re.findall(r"^    (?:.+\| )?(planespotter .+)$", page, re.MULTILINE),
        *(SHELL if page == README else ()),
    ]
]
COMMAND_LINE = typer.main.get_command(build_app())
PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]


@pytest.fixture(scope="module")
def address(tiny_bundle: Path) -> Iterator[str]:
    """Address of the server that the first shell block starts, with the tiny bundle and a free port."""
    _, *words = shlex.split(SHELL[0])
    command = [*PLANESPOTTER, *words, "--model", str(tiny_bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip().rsplit(" ", 1)[1]
        server.terminate()


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_and_options_in_pages_exist(line: str) -> None:
    name, *words = shlex.split(line)
    command = COMMAND_LINE.commands[name]  # type: ignore[attr-defined]
    if hasattr(command, "commands"):  # a group, such as `catalog`
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} - {"-"} <= known


def test_pages_contain_commands() -> None:
    assert {line.split()[0] for line in COMMANDS} >= {"scrape", "train", "export", "evaluate", "serve", "classify"}


def test_make_targets_in_the_readme_exist() -> None:
    listed = subprocess.run(["make", "-C", REPOSITORY], capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert f"make {target} " in listed


def test_extras_in_pages_exist() -> None:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    named = {
        extra
        for page in PAGES
        for extras in re.findall(r"pip install '\S*\[(.+?)\]'", page)
        for extra in extras.split(",")
    }
    assert {"server", "all"} <= named <= set(known)


@pytest.mark.slow
@pytest.mark.e2e
def test_first_commands_of_the_readme_classify_a_photo(
    address: str, paint: Callable[..., bytes], tmp_path: Path
) -> None:
    serve, classify = SHELL
    assert shlex.split(serve) == ["planespotter", "serve"]
    _, *words = shlex.split(classify)
    (tmp_path / "photo.jpg").write_bytes(paint("737-800"))
    command = [*PLANESPOTTER, *words, "--server", address]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Boeing" in done.stdout
    assert "737-800" in done.stdout


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("page", ["README.md", "docs/calling.md"])
def test_python_example_runs(
    page: str,
    address: str,
    paint: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(paint("737-800"))
    (tmp_path / "another.jpg").write_bytes(b"no photo")
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("127.0.0.1:50051", address), page, "exec"), {})
    first, *streamed = capsys.readouterr().out.splitlines()
    assert "737-800" in first
    assert any(line.startswith("photo.jpg") and "737-800" in line for line in streamed)
    assert any(line.startswith("another.jpg") and "JPEG, PNG or WebP" in line for line in streamed)
