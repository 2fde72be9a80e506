"""`planespotter bulk account`: answered, failed, missing and duplicate photos."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bulk.conftest import Bulk
from tests.bulk.jobs import answer_all, write_manifest

from planespotter_bulk.account import account
from planespotter_bulk.errors import BulkError
from planespotter_bulk.storage import Folder, open_folder


@pytest.fixture
def manifest(tmp_path: Path, tiny_bundle: Path, photos: Path) -> Folder:
    """A manifest of 12 photos, 10 of which exist, with all answers in two files of 8 and 4."""
    uris = [str(path) for path in sorted(photos.rglob("[!.]*.jpg"))] * 2
    manifest = write_manifest(tmp_path / "manifest", [*uris, "/deleted.jpg", "/gone.jpg"])
    answer_all(manifest, tmp_path / "answers", tiny_bundle)
    return manifest


def test_complete_answers_have_exit_code_0(
    manifest: Folder, tmp_path: Path, bulk: Bulk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk("account", manifest, tmp_path / "answers", "--out", tmp_path / "status") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["photos", "12"],
        ["answered", "10"],
        ["failed", "2", "PHOTO_UNREADABLE", "2"],
        ["missing", "0"],
        ["duplicate", "0"],
    ]
    status = pq.read_table(tmp_path / "status").to_pylist()
    assert [row["id"] for row in status] == list(range(100, 112))
    assert [row["status"] for row in status] == ["answered"] * 10 + ["failed"] * 2
    assert status[10] == {"id": 110, "uri": "/deleted.jpg", "status": "failed", "reason": "PHOTO_UNREADABLE"}


def test_missing_answers_are_named_with_exit_code_1(
    manifest: Folder, tmp_path: Path, bulk: Bulk, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers" / "part-0000000.parquet").unlink()
    assert bulk("account", manifest, tmp_path / "answers") == 1
    out = capsys.readouterr().out
    assert "missing                 8" in out
    assert "missing: id 100, " in out
    assert "Run the job again: it answers the missing photos." in out


def test_duplicate_answers_are_named(manifest: Folder, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "answers" / "part-0000001.parquet", tmp_path / "answers" / "part-0000009.parquet")
    result = account(manifest, open_folder(str(tmp_path / "answers")))
    assert (result.statuses["duplicate"], result.is_complete) == (4, False)
    assert result.examples[0].startswith("duplicate: id 108, ")


def test_answers_of_another_manifest_are_noticed(manifest: Folder, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [7], "uri": ["x"]}), tmp_path / "manifest" / "part-00000.parquet")
    result = account(manifest, open_folder(str(tmp_path / "answers")))
    assert (result.unknown_ids, result.statuses["missing"], result.is_complete) == (12, 1, False)


def test_manifest_with_a_repeated_id_is_noticed(manifest: Folder, tmp_path: Path) -> None:
    ids = [*range(100, 112), 100]
    pq.write_table(pa.table({"id": ids, "uri": ["x"] * 13}), tmp_path / "manifest" / "part-00000.parquet")
    result = account(manifest, open_folder(str(tmp_path / "answers")))
    assert (result.repeated_ids, result.is_complete) == (1, False)


def test_folder_without_answers_is_explained(manifest: Folder, tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="has no answers"):
        account(manifest, open_folder(str(tmp_path / "nothing")))


def test_damaged_answers_are_explained(manifest: Folder, tmp_path: Path) -> None:
    (tmp_path / "answers" / "part-0000001.parquet").write_bytes(b"damaged")
    with pytest.raises(BulkError, match=r"part-0000001\.parquet is not a Parquet file, or is damaged"):
        account(manifest, open_folder(str(tmp_path / "answers")))
