"""The root command: user errors become messages, bugs keep their traceback."""

import errno
from pathlib import Path

import pytest

from planespotter_client.commands import main as root


def test_file_system_error_becomes_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        (tmp_path / "file" / "below").mkdir()
    assert str(root.user_message(caught.value)).startswith(f"Not a directory: {tmp_path}/file/below.")


def test_disk_full_becomes_a_message_although_it_names_no_file() -> None:
    assert "No space left" in str(root.user_message(OSError(errno.ENOSPC, "No space left on device")))


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), OSError("x"), RuntimeError("x")])
def test_bug_keeps_its_traceback(bug: Exception) -> None:
    assert root.user_message(bug) is None


def test_help_paragraphs_are_unwrapped() -> None:
    assert root.unwrap("One\nline.\n\nAnd\n    another.") == "One line.\n\nAnd another."


def test_help_lists_the_pipeline_in_order_and_in_a_single_panel() -> None:
    commands = root.build_app().registered_commands
    names = [info.name or info.callback.__name__ for info in commands if info.callback]
    pipeline = ["scrape", "train", "export", "serve", "classify", "web", "bench", "health", "demo"]
    assert [name for name in names if name in pipeline] == pipeline
    assert not any(isinstance(info.rich_help_panel, str) for info in commands)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        root.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("planespotter 0.")


@pytest.mark.parametrize(("module", "extra"), list(root.EXTRAS.items()))
def test_missing_module_names_the_extra_of_the_package_that_imports_it(module: str, extra: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        exec("import no_such_module", {"__name__": f"{module}.below"})
    assert root.missing_extra(caught.value) == extra
