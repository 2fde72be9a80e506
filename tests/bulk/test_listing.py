"""`planespotter bulk list`: manifests of folders, buckets and tables, and their resumption."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bulk.conftest import Bulk

from planespotter_bulk.errors import BulkError
from planespotter_bulk.listing import ListResult, list_photos
from planespotter_bulk.manifest import SCHEMA, ManifestError, read_block, read_manifest
from planespotter_bulk.storage import open_folder

NAMES = ["737-800.jpg", "A320neo.jpg", "gate.old/737-800.jpg", "gate/747.jpg", "gate/north/A380.jpg"]


def rows(manifest: Path) -> list[dict[str, Any]]:
    return pq.read_table(manifest).to_pylist()  # type: ignore[no-any-return]


def test_folder_is_listed_in_order_with_sizes_and_times(
    photos: Path, tmp_path: Path, bulk: Bulk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk("list", photos, "--out", tmp_path / "manifest") == 0
    assert "5 photos listed. Not listed: 1 hidden or system files, 1 other files." in capsys.readouterr().out
    listed = rows(tmp_path / "manifest")
    assert [(row["id"], row["uri"]) for row in listed] == [(i, f"{photos}/{name}") for i, name in enumerate(NAMES)]
    assert [row["bytes"] for row in listed] == [(photos / name).stat().st_size for name in NAMES]
    assert listed[0]["modified"].timestamp() == pytest.approx((photos / NAMES[0]).stat().st_mtime, abs=1)
    assert pq.read_schema(tmp_path / "manifest" / "part-00000.parquet").equals(SCHEMA)


@pytest.mark.parametrize("after", range(1, 6))
def test_interrupted_listing_resumes_at_the_last_photo(after: int, photos: Path, tmp_path: Path) -> None:
    out = open_folder(str(tmp_path / "manifest"))

    def interrupt(result: ListResult) -> None:
        if result.photos == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list_photos(str(photos), out, shard_photos=1, on_shard=interrupt)
    with pytest.raises(ManifestError, match="is incomplete"):
        read_manifest(out)
    assert list_photos(str(photos), out, shard_photos=1).photos == 5
    assert [(row["id"], row["uri"]) for row in rows(tmp_path / "manifest")] == [
        (i, f"{photos}/{name}") for i, name in enumerate(NAMES)
    ]


def test_odd_names_and_links_end_no_listing(photos: Path, tmp_path: Path) -> None:
    (photos / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    (photos / "café.jpg").write_bytes(b"")
    (photos / "broken.jpg").symlink_to("nowhere")
    (photos / "gate" / "loop").symlink_to(photos)
    result = list_photos(str(photos), open_folder(str(tmp_path / "manifest")))
    assert result.photos == 6
    assert result.skipped["names that are not UTF-8: rename them"] == 1


def test_complete_manifest_stays_and_one_of_another_source_is_rejected(photos: Path, tmp_path: Path) -> None:
    out = open_folder(str(tmp_path / "manifest"))
    list_photos(str(photos), out)
    (photos / "new.jpg").write_bytes(b"")
    assert list_photos(str(photos), out).photos == 5
    with pytest.raises(ManifestError, match=r"is a manifest of .*photos\. Name another folder with --out"):
        list_photos(str(photos / "gate"), out)


def test_table_of_a_library_is_listed_with_paths_relative_to_it(photos: Path, tmp_path: Path, bulk: Bulk) -> None:
    table = photos / "library.csv"
    table.write_text("path;bytes\n737-800.jpg;12\n\ns3://airport/a.jpg;\n;3\n", encoding="utf-8")
    assert bulk("list", table, "--column", "path", "--out", tmp_path / "manifest") == 0
    assert [(row["uri"], row["bytes"]) for row in rows(tmp_path / "manifest")] == [
        (f"{photos}/737-800.jpg", 12),
        ("s3://airport/a.jpg", None),
    ]


def test_bucket_is_listed_to_a_bucket(s3: Any, tmp_path: Path, bulk: Bulk) -> None:
    for name in NAMES:
        with s3.open_output_stream(f"airport/photos/{name}") as file:
            file.write(b"content")
    assert bulk("list", "s3://airport/photos/", "--out", "s3://airport/manifest", "--shard-photos", 2) == 0
    manifest = read_manifest(open_folder("s3://airport/manifest"))
    assert list(manifest.files.values()) == [2, 2, 1]
    uris = [photo.uri for block in manifest.blocks(3) for photo in read_block(manifest.folder, block)]
    assert uris == [f"s3://airport/photos/{name}" for name in NAMES]


def test_any_fsspec_filesystem_is_listed(tmp_path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/hangar/a.jpg": b"1", "/hangar/below/b.png": b"22"})
    list_photos("memory://hangar", open_folder(str(tmp_path / "manifest")))
    assert [(row["uri"], row["bytes"]) for row in rows(tmp_path / "manifest")] == [
        ("memory://hangar/a.jpg", 1),
        ("memory://hangar/below/b.png", 2),
    ]


# Bad input


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere does not exist. Check the path."),
        ("nowhere.csv", "cannot be read: it does not exist."),
        ("zz://a/b", "zz:// is not a known kind of storage. Use a folder, s3://, gs:// or az://"),
        ("az://container/photos", "az:// needs a further package"),
        ("s3://", "s3:// names no bucket. Use a URI such as s3://bucket/folder."),
        ("empty", "There are no photos in empty. 0 photos listed."),
        ("table.csv", "table.csv has no column 'uri'; its columns are path, size. Name one with --column."),
    ],
)
def test_bad_source_is_explained_and_leaves_no_manifest(
    source: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bulk: Bulk,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("path,size\na.jpg,1\n")
    assert bulk("list", source, "--out", "manifest") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "manifest").exists()


def test_unreachable_store_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bulk: Bulk, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("planespotter_bulk.storage._filesystems", {})
    monkeypatch.setattr("planespotter_bulk.storage.S3_ATTEMPTS", 1)
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ACCESS_KEY_ID", "k")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert bulk("list", "s3://airport/photos", "--out", tmp_path / "manifest") == 1
    assert "s3://airport/photos cannot be listed: the store cannot be reached (" in capsys.readouterr().err


def test_bucket_that_does_not_exist_is_explained(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="s3://elsewhere/photos"):
        list_photos("s3://elsewhere/photos", open_folder(str(tmp_path / "manifest")))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "uri": ["a.jpg"]}, r"needs the columns id \(int64\) and uri \(string\), and has id \(string\)"),
        ({"id": [1], "path": ["a.jpg"]}, r"and has id \(int64\), path \(string\)"),
    ],
)
def test_manifest_of_another_schema_is_rejected(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ManifestError, match=message):
        read_manifest(open_folder(str(tmp_path)))


def test_damaged_and_missing_manifests_are_rejected(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    with pytest.raises(ManifestError, match=r"has no manifest\. Create one: planespotter bulk list PHOTOS --out"):
        read_manifest(folder)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but damaged")
    with pytest.raises(ManifestError, match="is not a Parquet file, or is damaged"):
        read_manifest(folder)


def test_manifest_of_another_program_is_never_overwritten(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    pq.write_table(pa.table({"id": [7], "uri": ["a.jpg"]}), tmp_path / "manifest" / "theirs.parquet")
    with pytest.raises(ManifestError, match="has a manifest of another program"):
        list_photos(str(photos), open_folder(str(tmp_path / "manifest")))
    manifest = read_manifest(open_folder(str(tmp_path / "manifest")))
    assert [photo.id for photo in read_block(manifest.folder, next(manifest.blocks(10)))] == [7]
    assert json.dumps(manifest.files) == '{"theirs.parquet": 1}'
