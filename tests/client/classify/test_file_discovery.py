"""File discovery: folders, glob patterns and paths on standard input."""

import os
from pathlib import Path

import pytest

from planespotter_client.classify import file_discovery


def test_folders_are_searched_for_photos(folder: Path) -> None:
    photos = [str(Path(photo).relative_to(folder)) for photo in file_discovery.find_photos([folder])]
    assert photos == ["737-800.JPG", "A320neo.JPG", "below/747.JPG"]
    assert len(list(file_discovery.find_photos([folder], recursive=False))) == 2
    assert list(file_discovery.find_photos([folder / "notes.txt"])) == [str(folder / "notes.txt")]


def test_pattern_matches_photos_and_folders_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/one.jpg", "a/b/two.PNG", "a/notes.txt", "c/three.webp", "odd[1].jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert sorted(file_discovery.expand_pattern("a/*")) == ["a/b", "a/one.jpg"]
    assert sorted(file_discovery.expand_pattern("**")) == ["a/b/two.PNG", "a/one.jpg", "c/three.webp", "odd[1].jpg"]
    assert not file_discovery.is_pattern("odd[1].jpg"), "an existing file with this very name takes precedence"
    assert file_discovery.without_match(["a", "*.gif", "odd[1].jpg", "nowhere.jpg", "-"]) == ["*.gif", "nowhere.jpg"]


def test_excluded_folder_is_not_searched(tmp_path: Path) -> None:
    for name in ("photo.jpg", "sorted/photo.jpg", "other/photo.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    photos = list(file_discovery.find_photos([tmp_path], exclude=tmp_path / "other" / ".." / "sorted"))
    assert photos == [str(tmp_path / "photo.jpg"), str(tmp_path / "other" / "photo.jpg")]


@pytest.mark.parametrize(
    ("text", "end", "paths"),
    [
        (b"a.jpg\nb c.jpg\r\n\nlast.jpg", b"\n", ["a.jpg", "b c.jpg", "last.jpg"]),
        (b"a\nb.jpg\0last.jpg\0", b"\0", ["a\nb.jpg", "last.jpg"]),
        (b"", b"\n", []),
        (b"\xe9.jpg\n", b"\n", [os.fsdecode(b"\xe9.jpg")]),
    ],
)
def test_paths_on_standard_input_are_split_at_line_end_or_nul(text: bytes, end: bytes, paths: list[str]) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, text)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        assert list(file_discovery.read_paths(file, end)) == paths


def test_path_on_standard_input_is_yielded_before_the_next_arrives() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as file:
        paths = file_discovery.read_paths(file)
        for name in ("one.jpg", "two.jpg"):
            os.write(theirs, f"{name}\n".encode())
            assert next(paths) == name
        os.close(theirs)
