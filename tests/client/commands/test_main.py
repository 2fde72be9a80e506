"""The command `planespotter` as a whole: what goes wrong becomes a sentence, unless it is a bug."""

import errno
from pathlib import Path

import pytest

from planespotter_client.commands import main as command


def test_what_the_file_system_refuses_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as refused:
        (tmp_path / "file" / "below").mkdir()
    assert command.sentence(refused.value) is not None
    assert str(command.sentence(refused.value)).startswith(f"Not a directory: {tmp_path}/file/below.")


def test_a_full_disk_is_a_sentence_although_it_names_no_file() -> None:
    assert "No space left" in str(command.sentence(OSError(errno.ENOSPC, "No space left on device")))


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), OSError("x"), RuntimeError("x")])
def test_a_bug_keeps_its_traceback(bug: Exception) -> None:
    assert command.sentence(bug) is None


def test_paragraphs_of_help_flow() -> None:
    assert command.flowing("One\nline.\n\nAnd\n    another.") == "One line.\n\nAnd another."


def test_commands_are_in_one_panel() -> None:
    rooms = {"planespotter_client.commands.cli", "planespotter_client.classify.cli", "planespotter_server.cli"}
    ours = [
        info for info in command.build_app().registered_commands if info.callback and info.callback.__module__ in rooms
    ]
    assert len(ours) == 3
    assert not any(isinstance(info.rich_help_panel, str) for info in ours)


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("planespotter 0.")
