"""Filing: photos copied or linked into folders by what they show."""

from pathlib import Path

import pytest
from tests.client.classify.results import prediction

from planespotter_client import Level
from planespotter_client.classify import filing


def names_of(level: Level = Level.MODEL) -> list[str]:
    return [node.name for node in prediction(level).confident_path]


@pytest.mark.parametrize(
    ("level", "subfolder"),
    [
        (Level.MODEL, "Boeing/737-800"),
        (Level.FAMILY, "Boeing/737"),
        (Level.CONSTRUCTOR, "Boeing"),
        (Level.UNKNOWN, "unknown"),
    ],
)
def test_photo_is_filed_by_the_confident_part_of_its_prediction(tmp_path: Path, level: Level, subfolder: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    filed = filing.file_photo(str(tmp_path / "photo.jpg"), names_of(level), tmp_path / "sorted").path
    assert filed == tmp_path / "sorted" / subfolder / "photo.jpg"
    assert filed.read_bytes() == b"photo"
    assert (tmp_path / "photo.jpg").exists(), "nothing is moved"
    assert list(filed.parent.iterdir()) == [filed], "no temporary file is left"


@pytest.mark.parametrize("link", filing.Link)
def test_missing_photo_is_not_filed(tmp_path: Path, link: filing.Link) -> None:
    with pytest.raises(filing.PhotoMissingError, match=r"photo\.jpg was moved or deleted before it could be filed"):
        filing.file_photo(str(tmp_path / "photo.jpg"), names_of(), tmp_path / "sorted", link)
    assert [path for path in (tmp_path / "sorted").rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("link", filing.Link)
def test_photos_of_the_same_name_are_numbered_and_a_second_run_is_idempotent(tmp_path: Path, link: filing.Link) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.jpg").write_bytes(folder.encode())

    def file_all() -> list[tuple[str, bytes]]:
        for folder in "abc":
            filing.file_photo(str(tmp_path / folder / "photo.jpg"), names_of(), tmp_path / "sorted", link)
        return sorted((path.name, path.read_bytes()) for path in (tmp_path / "sorted/Boeing/737-800").iterdir())

    expected = [("photo (2).jpg", b"b"), ("photo (3).jpg", b"c"), ("photo.jpg", b"a")]
    assert file_all() == expected
    assert file_all() == expected
    first = tmp_path / "sorted/Boeing/737-800/photo.jpg"
    assert first.is_symlink() == (link is filing.Link.SYMBOLIC)
    assert first.samefile(tmp_path / "a" / "photo.jpg") == (link is not filing.Link.COPY)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("A320/A321", "A320-A321"), ("../..", "-.."), ("..", "-"), ("747-8\n", "747-8-"), ("C:x", "C-x")],
)
def test_label_from_a_server_is_a_single_folder_name(name: str, folder: str) -> None:
    assert filing.safe_folder_name(name).strip(".") == folder.strip(".")
    assert "/" not in filing.safe_folder_name(name)


def test_file_system_error_is_reported(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    (tmp_path / "sorted").write_bytes(b"not a folder")
    with pytest.raises(filing.FilingError, match=r"photo\.jpg cannot be filed in .*sorted/Boeing/737-800: Not a dir"):
        filing.file_photo(str(tmp_path / "photo.jpg"), names_of(), tmp_path / "sorted")
