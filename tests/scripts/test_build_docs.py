"""Reference of `make docs`: complete, and every entry has a description."""

import subprocess
import sys
from pathlib import Path

import pytest
from scripts import build_docs

import planespotter_client
from planespotter.v1 import classifier_pb2 as pb

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICE, *_ = pb.DESCRIPTOR.services_by_name.values()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-W", "error", "-m", "scripts.build_docs", "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_python_reference_is_generated_from_docstrings(pages: Path) -> None:
    client = (pages / "python" / "planespotter_client.html").read_text(encoding="utf-8")
    for name in planespotter_client.__all__:
        assert f'id="{name}"' in client
    assert (pages / "python" / "planespotter_models.html").is_file()
    assert (pages / "python" / "planespotter_scraping" / "catalog.html").is_file()


def test_every_part_of_the_contract_has_a_comment() -> None:
    first, *sections = build_docs.contract()
    assert "google.rpc.Status" in first.text
    rows_by_section = {section.name: [name for name, _, _ in section.rows] for section in sections}
    assert rows_by_section[SERVICE.name] == [method.name for method in SERVICE.methods]
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        assert rows_by_section[message.name] == [field.name for field in message.fields]
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        assert rows_by_section[enum.name] == [value.name for value in enum.values]
    for section in sections:
        assert section.text, section.name
        for name, kind, text in section.rows:
            assert kind, (section.name, name)
            assert text, (section.name, name)


def test_every_command_and_option_has_a_help_text() -> None:
    sections = build_docs.commands()
    assert {"planespotter classify", "planespotter catalog clean"} <= {section.name for section in sections}
    for section in sections:
        assert "Example: planespotter" in section.text, f"The help of {section.name} shows no example."
        for name, _, text in section.rows:
            assert text.strip(), f"{section.name} {name} has no help."


def test_pages_contain_the_contract_and_the_commands(pages: Path) -> None:
    contract = (pages / "contract.html").read_text(encoding="utf-8")
    assert "stream StreamClassifyRequest → stream StreamClassifyResponse" in contract
    commands = (pages / "commands.html").read_text(encoding="utf-8")
    for section in build_docs.commands():
        assert f">{section.name} <small>" in commands
    index = (pages / "index.html").read_text(encoding="utf-8")
    for page in ("contract.html", "commands.html", "python/index.html"):
        assert f'href="{page}"' in index
        assert (pages / page).is_file()
