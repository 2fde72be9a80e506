"""Command-line help: every command shows an example, every example parses, and shells complete the options."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from planespotter_client.commands.main import build_app, main

PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]

# Turns off the detection of the shell, so that a test can name one.
UNDETECTED = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def commands(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(command, "commands"):  # a group, such as `catalog`
        for subcommand, child in command.commands.items():
            yield from commands(child, (*name, subcommand))
    else:
        yield name, command


ALL = dict(commands(typer.main.get_command(build_app())))
EXAMPLES = [
    (name, line) for name, command in ALL.items() for line in re.findall(r"^Example: (.+)$", command.help, re.MULTILINE)
]


def words_of(line: str) -> list[str]:
    """Return the arguments of `planespotter` in a shell command line."""
    words = shlex.split(line)
    words = words[words.index("planespotter") + 1 :]
    ends = [at for at, word in enumerate(words) if word in {"|", ">", "&"}]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize("name", ALL, ids=" ".join)
def test_every_command_shows_an_example(name: tuple[str, ...]) -> None:
    assert name in {shown for shown, _ in EXAMPLES}


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_parses(
    name: tuple[str, ...], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = words_of(line)
    assert tuple(words[: len(name)]) == name
    command = ALL[name]
    values, _, _ = command.make_parser(typer.Context(command)).parse_args(words[len(name) :])
    for parameter in command.params:
        descriptor = getattr(parameter, "type_descriptor", None)
        info = getattr(descriptor, "parameter_info", None)
        paths = values.get(parameter.name)
        if info is not None and info.exists and paths:  # paths that must exist do
            for path in [paths] if isinstance(paths, str) else paths:
                make(tmp_path / path, folder=not info.file_okay)
    command.make_context(name[-1], words[len(name) :])


def make(path: Path, folder: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def test_examples_without_prerequisites_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "registry.txt").write_text("BOEING 737-7CT\n", encoding="utf-8")
    ran = 0
    for name, line in EXAMPLES:
        if name[0] in {"label", "recipes", "token"}:  # in the order in which they are shown: new, list, revoke
            with pytest.raises(SystemExit) as done:
                main(words_of(line))
            assert not done.value.code, line
            assert any(capsys.readouterr()), line
            ran += 1
    assert ran >= 5


# Completion


@pytest.mark.slow
def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    command = tmp_path / "planespotter"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(PLANESPOTTER)} "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(planespotter --show-completion bash)"
        complete_words() {
            COMP_WORDS=(planespotter "$@")
            COMP_CWORD=$#
            _planespotter_completion planespotter
            echo "${COMPREPLY[@]}"
        }
        complete_words cla
        complete_words classify --sort
        complete_words classify --format ""
        complete_words scrape --site ""
        complete_words train --recipe sm
    """
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={**UNDETECTED, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout.splitlines() == [
        "classify",
        "--sort-into",
        "table csv excel jsonl parquet",
        "sample planespotters commons",
        "small",
    ], done.stderr


@pytest.mark.parametrize(
    ("shell", "words"), [("zsh", "#compdef planespotter"), ("fish", "complete --command planespotter")]
)
def test_zsh_and_fish_have_completion(shell: str, words: str) -> None:
    done = subprocess.run(
        [*PLANESPOTTER, "--show-completion", shell],
        capture_output=True,
        text=True,
        env=UNDETECTED,
    )
    assert words in done.stdout
