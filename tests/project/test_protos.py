"""The generated code matches the .proto files, which pass buf's rules."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "generate_protos.py"


def test_generated_code_is_up_to_date_and_buf_passes() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_stale_generated_code_and_missing_comments_are_detected(tmp_path: Path) -> None:
    """Run the check on a modified copy of its input."""
    for name in ("protos", "scripts", "buf.yaml"):
        source = REPOSITORY / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    proto = tmp_path / "protos" / "planespotter" / "v1" / "classifier.proto"
    command: list[str | Path] = [sys.executable, tmp_path / "scripts" / "generate_protos.py", "--check"]
    proto.write_text(proto.read_text() + "\nmessage Stray {}\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Out of date: planespotter/v1/classifier_pb2.py" in done.stderr
    subprocess.run(command[:2], capture_output=True, check=False)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0, "buf must complain about the missing comment"
    assert 'Message "Stray" should have a non-empty comment' in done.stdout + done.stderr
