"""The folder watcher: when an arriving photo is complete."""

import os
from pathlib import Path
from typing import Any

import pytest

from planespotter_client.classify.folder_watcher import (
    INCOMPLETE_SECONDS,
    SETTLE_SECONDS,
    FolderWatcher,
    has_end,
)


@pytest.fixture
def jpeg(paint: Any) -> bytes:
    photo: bytes = paint("737-800")
    return photo


def test_photo_is_yielded_once_after_it_has_settled(tmp_path: Path, jpeg: bytes) -> None:
    watcher = FolderWatcher(tmp_path)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg)
    (tmp_path / ".hidden.jpg").write_bytes(jpeg)
    (tmp_path / "notes.txt").write_bytes(jpeg)
    assert list(watcher.poll(0)) == []
    assert list(watcher.poll(SETTLE_SECONDS / 2)) == []
    assert list(watcher.poll(SETTLE_SECONDS)) == [str(photo)]
    assert list(watcher.poll(100)) == []
    photo.write_bytes(jpeg + jpeg)
    assert list(watcher.poll(200)) == list(watcher.poll(300)) == []


def test_partial_photo_waits_for_the_rest(tmp_path: Path, jpeg: bytes) -> None:
    watcher = FolderWatcher(tmp_path)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg[:300])
    assert list(watcher.poll(0)) == list(watcher.poll(30)) == []
    photo.write_bytes(jpeg)
    assert list(watcher.poll(31)) == [], "it has just changed"
    assert list(watcher.poll(32)) == [str(photo)]


def test_partial_photo_is_yielded_after_a_timeout(tmp_path: Path, jpeg: bytes) -> None:
    watcher = FolderWatcher(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(jpeg[:300])
    assert list(watcher.poll(0)) == list(watcher.poll(INCOMPLETE_SECONDS - 1)) == []
    assert len(list(watcher.poll(INCOMPLETE_SECONDS))) == 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_end_of_a_photo_is_recognized_by_its_format(tmp_path: Path, paint: Any, file_format: str) -> None:
    photo, path = paint("747", file_format), tmp_path / "photo"
    path.write_bytes(photo)
    assert has_end(str(path))
    path.write_bytes(photo + b"notes of the camera")
    assert has_end(str(path))
    path.write_bytes(photo[:-20])
    assert not has_end(str(path))
    path.write_bytes(b"")
    assert not has_end(str(path))


def test_snapshot_that_a_camera_overwrites_is_yielded_after_each_change_with_again(tmp_path: Path, paint: Any) -> None:
    snapshot = tmp_path / "snapshot.jpg"
    snapshot.write_bytes(paint("747"))
    once, again = FolderWatcher(tmp_path), FolderWatcher(tmp_path, again=True)

    def poll(now: float) -> tuple[int, int]:
        return len(list(once.poll(now))), len(list(again.poll(now)))

    assert poll(0.0) == (0, 0)
    assert poll(10.0) == (1, 1)
    assert poll(20.0) == (0, 0)
    snapshot.write_bytes(paint("A380"))
    os.utime(snapshot, ns=(1, 1))
    assert poll(30.0) == (0, 0), "it may still be written"
    assert poll(40.0) == (0, 1)
    assert poll(50.0) == (0, 0)
