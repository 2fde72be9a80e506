"""Pages: links resolve, and every command, setting, reason and exception is documented."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc.code_pb2 import Code
from scripts import build_docs

import planespotter_client
from planespotter_server.rpc.status import CODES

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "models").rglob("*.md")),
]


def text(page: Path) -> str:
    """Return the text of `page` without code blocks."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", prose, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of `page`, as GitHub and others generate them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", heading)).strip() for heading in headings]
    return {word.lower().replace(" ", "-") for word in words}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", text(page)):
            yield page, target
        for target in re.findall(r"(?:src|href)=\"([^\"]+)\"", text(page)):
            yield page, target


@pytest.mark.parametrize(
    ("page", "target"), list(links()), ids=lambda part: part.name if isinstance(part, Path) else str(part)
)
def test_link_resolves(page: Path, target: str) -> None:
    if target.startswith(("https://", "http://")):
        return  # external pages are not checked
    name, _, anchor = target.partition("#")
    file = page.parent / name if name else page
    assert file.exists(), f"{page.relative_to(REPOSITORY)} links to {target}"
    assert file.resolve().is_relative_to(REPOSITORY)
    if anchor:
        assert anchor in anchors(file), f"{page.relative_to(REPOSITORY)} links to {target}: {sorted(anchors(file))}"


def test_every_page_is_reachable_from_the_readme() -> None:
    visited: set[Path] = set()
    todo = [REPOSITORY / "README.md"]
    while todo:
        page = todo.pop()
        if page not in visited:
            visited.add(page)
            todo += [(page.parent / target.partition("#")[0]).resolve() for source, target in links() if source == page]
    assert {page.resolve() for page in PAGES} <= visited


def test_newest_version_in_the_changelog_is_installed() -> None:
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([0-9.]+)\]", changes, re.MULTILINE)
    assert versions[0] == importlib.metadata.version("planespotter")


def test_every_command_is_documented() -> None:
    documented = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for section in build_docs.commands():
        assert re.search(rf"{re.escape(section.name)}\b", documented), f"No page documents `{section.name}`."


def test_every_server_setting_is_in_the_operating_page() -> None:
    page = (REPOSITORY / "docs" / "operating.md").read_text(encoding="utf-8")
    (serve,) = (section for section in build_docs.commands() if section.name == "planespotter serve")
    options = {word for name, _, _ in serve.rows for word in re.findall(r"--[a-z0-9-]+", name)}
    missing = {option for option in options if not re.search(rf"{option}\b", page) and not option.startswith("--no-")}
    assert not missing


def test_every_reason_and_exception_is_in_the_calling_page() -> None:
    page = (REPOSITORY / "docs" / "calling.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z_`, ]+) \| ([A-Z_]+) \|", page, re.MULTILINE)
    documented = {reason: code for reasons, code in rows for reason in re.findall(r"`([A-Z_]+)`", reasons)}
    assert documented == {reason: Code.Name(code) for reason, code in CODES.items()}
    sources = [file.read_text(encoding="utf-8") for file in (REPOSITORY / "client").rglob("*.py")]
    for reason in {reason for source in sources for reason in re.findall(r"\breason=\"([A-Z_]+)\"", source)}:
        assert f"`{reason}`" in page, f"docs/calling.md does not document {reason}."
    for name in planespotter_client.__all__:
        assert not name.endswith("Error") or f"`{name}`" in page, f"docs/calling.md does not document {name}."
