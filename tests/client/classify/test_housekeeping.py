"""Housekeeping files: one rule for classify, watch, import and the page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.classify.command import run

from planespotter_client.classify.file_discovery import expand_pattern, find_photos
from planespotter_client.classify.folder_watcher import SETTLE_SECONDS, FolderWatcher
from planespotter_photos.housekeeping import HOUSEKEEPING_NAMES, HOUSEKEEPING_SUFFIXES, is_housekeeping
from planespotter_scraping.catalog.folder_import import import_folder

Paint = Callable[..., bytes]

REPOSITORY = Path(__file__).resolve().parents[3]
SKIPPED = [
    "._IMG_1.JPG",
    ".hidden.jpg",
    ".thumbnails/1.jpg",
    ".Trash-1000/files/1.jpg",
    "@eaDir/IMG_1.JPG/SYNOPHOTO_THUMB_XL.jpg",
    "__MACOSX/1.jpg",
    "$RECYCLE.BIN/1.jpg",
    "System Volume Information/1.jpg",
    "archive.lrdata/1.jpg",
]


@pytest.fixture
def card(tmp_path: Path, paint: Paint) -> Path:
    """The folder Boeing/737-800 as it comes from a Mac and a network drive: two photos and what surrounds them."""
    folder = tmp_path / "Boeing" / "737-800"
    for number, name in enumerate(["IMG_1.JPG", "below/IMG_2.JPG", *SKIPPED]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(paint("737-800", size=(150 + number, 96 + number)))
    return folder


def below(card: Path, paths: list[str]) -> list[str]:
    return sorted(str(Path(path).relative_to(card)) for path in paths)


def test_card_of_a_mac_is_classified_without_its_housekeeping_files(
    address: str, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(card, "--server", address, "--format", "csv") == 0
    output = capsys.readouterr()
    assert output.out.count("Boeing 737-800") == 2
    assert "9 hidden or system files and folders skipped: " in output.err


def test_photo_that_the_user_names_is_read_although_it_is_hidden(card: Path) -> None:
    hidden = str(card / ".hidden.jpg")
    assert list(find_photos([hidden])) == [hidden]
    assert list(find_photos([card / ".thumbnails"])) == [str(card / ".thumbnails/1.jpg")]
    assert list(expand_pattern(f"{card}/@eaDir/*/*.jpg")) == [str(card / SKIPPED[4])]


def test_glob_pattern_does_not_reach_into_housekeeping_folders(card: Path) -> None:
    assert below(card, list(expand_pattern(f"{card}/**/*.[jJ][pP][gG]"))) == ["IMG_1.JPG", "below/IMG_2.JPG"]


def test_watched_folder_skips_the_same_files(card: Path) -> None:
    watcher = FolderWatcher(card)
    assert list(watcher.poll(0.0)) == []
    assert below(card, list(watcher.poll(SETTLE_SECONDS))) == ["IMG_1.JPG", "below/IMG_2.JPG"]


def test_import_skips_the_same_files(card: Path, tmp_path: Path) -> None:
    result = import_folder(card.parent.parent, tmp_path / "catalog")
    assert result.stored == 2
    assert not result.other_files


def test_page_has_the_same_rule() -> None:
    script = (REPOSITORY / "client/planespotter_client/web/page/file_input.js").read_text(encoding="utf-8")
    line = re.search(r"const HOUSEKEEPING = /(.+)/i;", script)
    assert line
    rule = re.compile(line[1], re.IGNORECASE)
    names = [*HOUSEKEEPING_NAMES, *(f"x{suffix}" for suffix in HOUSEKEEPING_SUFFIXES), *"/".join(SKIPPED).split("/")]
    for name in [*names, *map(str.upper, names), "IMG_1.JPG", "737-800", "x.lrdata.jpg", "a.b", "lost and found"]:
        assert bool(rule.search(name)) is is_housekeeping(name), name
