"""Workers: one answer per photo, as `planespotter classify` gives it, and what they do about bad photos and stores."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bulk.jobs import answer_all, blocks, rows, worker, write_manifest

from planespotter_bulk import answers as answer_files
from planespotter_bulk import classifier, storage
from planespotter_bulk.in_hand import InHand
from planespotter_bulk.manifest import Photo
from planespotter_bulk.storage import open_folder
from planespotter_client.classify import serialization
from planespotter_models import Label, Level, Prediction, decode_photo, read_bundle

Paint = Callable[..., bytes]
TYPES = ("A320-200", "A320neo", "A380", "737-800", "737 MAX 8", "747", "nothing known")


@pytest.fixture
def uris(tmp_path: Path, paint: Paint) -> list[str]:
    """Twenty photos on disk."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{i:02}-{TYPES[i % len(TYPES)]}.jpg" for i in range(20)]
    for i, path in enumerate(paths):
        path.write_bytes(paint(TYPES[i % len(TYPES)]))
    return list(map(str, paths))


def test_every_photo_has_one_answer_with_its_prediction(uris: list[str], tmp_path: Path, tiny_bundle: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest", uris)
    summaries = answer_all(manifest, tmp_path / "answers", tiny_bundle, top_k=2)
    assert [summary.photos for summary in summaries] == [8, 8, 4]
    answered = rows(tmp_path / "answers")
    assert [(id_, row["file"]) for id_, row in sorted(answered.items())] == list(
        zip(range(100, 120), uris, strict=True)
    )
    for id_, row in answered.items():
        name = TYPES[(id_ - 100) % len(TYPES)]
        assert row["level"] == (
            "unknown" if name == "nothing known" else "family" if name in ("A380", "747") else "model"
        )
        assert (row["error"], row["reason"]) == (None, None)
        assert row["network"] == "tiny 1"
        assert len(row["candidates"]) == 2
    assert answered[103]["name"] == "Boeing 737-800"
    assert answered[103]["model"] == "737-800"
    assert sum(summaries[0].constructors.values()) == 8


def test_columns_are_those_of_classify() -> None:
    assert answer_files.CLASSIFY_COLUMNS == serialization.COLUMNS


@pytest.mark.parametrize("level", Level)
def test_values_are_those_of_classify(level: Level, tiny_bundle: Path) -> None:
    from planespotter.v1 import classifier_pb2 as pb
    from planespotter_client import PhotoResult
    from planespotter_client._converters import prediction as from_message
    from planespotter_server.rpc import converters

    label = Label("Boeing", "747", "") if level is Level.FAMILY else Label("Boeing", "737", "737-800")
    prediction = Prediction(level, label, (0.9123456, 0.8, 0.7 if label.model else 0.0), ((label, 0.71234567),))
    message: pb.Prediction = converters.prediction(converters.Classified(prediction, read_bundle(tiny_bundle)))
    result = PhotoResult(0, "a.jpg", None, from_message(message))
    expected = {name: value for name, value in serialization.to_row(result).items() if value is not None}
    row = answer_files.RowWriter("tiny 1", "abc").row(Photo(7, "a.jpg"), prediction)
    assert row.pop("id") == 7
    assert row.pop("network_sha256") == "abc"
    assert {**row, "time": ""} == expected


def test_block_that_has_answers_is_not_computed_again(uris: list[str], tmp_path: Path, tiny_bundle: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest", uris)
    answer_all(manifest, tmp_path / "answers", tiny_bundle)
    first = rows(tmp_path / "answers")
    answer_all(manifest, tmp_path / "answers", tiny_bundle)
    assert rows(tmp_path / "answers") == first  # with the time of each


# Bad photos


def test_bad_photos_have_a_reason_and_do_not_affect_the_rest(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    expected = {}
    for name, (content, reason) in bad_photos.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
        expected[str(tmp_path / f"{name}.jpg")] = reason
    with (tmp_path / "5 GB.jpg").open("wb") as file:
        file.truncate(5 << 30)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    expected |= {
        str(tmp_path / "5 GB.jpg"): "PHOTO_TOO_LARGE",
        str(tmp_path / "deleted.jpg"): "PHOTO_UNREADABLE",
        str(tmp_path / "pipe.jpg"): "PHOTO_UNREADABLE",
        str(tmp_path / "folder.jpg"): "PHOTO_UNREADABLE",
    }
    manifest = write_manifest(tmp_path / "manifest", [*uris, *expected])
    answer_all(manifest, tmp_path / "answers", tiny_bundle, block_photos=40)
    answered = rows(tmp_path / "answers").values()
    assert {row["file"]: row["reason"] for row in answered if row["reason"]} == expected
    errors = {Path(row["file"]).stem: row["error"] for row in answered if row["reason"]}
    assert errors["5 GB"].endswith("5 GB.jpg has 5,368,709,120 bytes; the limit is 16,777,216. Scale it down.")
    assert errors["deleted"].endswith("cannot be read: it does not exist. It was listed in the manifest.")
    assert all(row["level"] for row in answered if not row["reason"])


def test_heic_photo_is_converted_as_in_classify(tmp_path: Path, tiny_bundle: Path, paint: Paint) -> None:
    (tmp_path / "scan.tif").write_bytes(paint("A380", "TIFF"))
    answer_all(write_manifest(tmp_path / "manifest", [f"{tmp_path}/scan.tif"]), tmp_path / "answers", tiny_bundle)
    assert rows(tmp_path / "answers")[100]["name"] == "Airbus A380"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the worker runs after it."""


def test_photo_that_kills_three_workers_is_recorded_as_poison(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = uris[13]

    def decode_or_die(self: Any, photo: Photo) -> Any:
        if photo.uri == poison:
            raise Killed
        return decode_photo(Path(photo.uri).read_bytes(), 32, 48)

    monkeypatch.setattr(classifier.Classifier, "_read", decode_or_die)
    manifest = write_manifest(tmp_path / "manifest", uris)
    [block] = blocks(manifest, 20)
    for _ in range(3):
        with pytest.raises(Killed):
            worker(manifest, tmp_path / "answers", tiny_bundle).answer(block)
    summary = worker(manifest, tmp_path / "answers", tiny_bundle).answer(block)
    assert (summary.deaths, summary.reasons) == (3, {"POISON_PHOTO": 1})
    answered = rows(tmp_path / "answers")
    assert [row["file"] for row in answered.values() if row["reason"]] == [poison]
    assert len(answered) == 20
    assert not list((tmp_path / "answers" / "_job" / "in_hand").rglob("*.json"))


def test_innocent_photos_of_a_worker_that_dies_for_another_reason_are_answered(
    uris: list[str], tmp_path: Path, tiny_bundle: Path
) -> None:
    manifest = write_manifest(tmp_path / "manifest", uris)
    [block] = blocks(manifest, 20)
    for _ in range(2):
        photos = InHand(open_folder(str(tmp_path / "answers")), block, [Photo(100 + i, u) for i, u in enumerate(uris)])
        next(photos.groups())  # and dies
    summary = worker(manifest, tmp_path / "answers", tiny_bundle).answer(block)
    assert (summary.photos, summary.deaths, dict(summary.reasons)) == (20, 2, {})


def test_suspects_are_narrowed_down_from_block_to_group_to_photo(tmp_path: Path, uris: list[str]) -> None:
    answers = open_folder(str(tmp_path))
    [block] = blocks(write_manifest(tmp_path / "manifest", ["x"] * 100), 100)
    photos = [Photo(i, "x") for i in range(100)]
    assert [len(group) for group in InHand(answers, block, photos).groups()] == [100]
    second = InHand(answers, block, photos).groups()
    assert [len(next(second)) for _ in range(2)] == [32, 32]  # it dies with the second group
    third = InHand(answers, block, photos)
    assert [len(group) for group in third.groups()] == [32, 32, 4] + [1] * 32
    assert third.attempts == 2


# Stores


def test_photos_and_answers_in_a_bucket(s3: Any, uris: list[str], tmp_path: Path, tiny_bundle: Path) -> None:
    for uri in uris:
        with s3.open_output_stream(f"airport/photos/{Path(uri).name}") as file:
            file.write(Path(uri).read_bytes())
    names = [*(Path(uri).name for uri in uris), "deleted.jpg"]
    manifest = write_manifest("s3://airport/manifest", [f"s3://airport/photos/{name}" for name in names])
    answer_all(manifest, "s3://airport/answers", tiny_bundle, block_photos=30)
    answered = rows("s3://airport/answers")
    assert [row["reason"] for row in answered.values()] == [None] * 20 + ["PHOTO_UNREADABLE"]
    assert answered[103]["name"] == "Boeing 737-800"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], Exception | None]], None]:
    """Replace reads of photos by errors of the store: `failing(lambda uri: OSError(...) or None)`."""
    read = storage.read_file
    monkeypatch.setattr(classifier, "FETCH_DELAYS", (0.0,))

    def failing(error_of: Callable[[str], Exception | None]) -> None:
        def read_file(uri: str, max_bytes: int | None = None) -> bytes:
            error = error_of(uri)
            if error is not None:
                with storage._explained(uri, "read"):
                    raise error
            return read(uri, max_bytes)

        monkeypatch.setattr(classifier, "read_file", read_file)

    return failing


@pytest.mark.parametrize(
    ("error", "message", "exit_code"),
    [
        (OSError("AWS Error NETWORK_CONNECTION"), "the store cannot be reached (AWS Error NETWORK_CONNECTION)", 75),
        (OSError("AWS Error ACCESS_DENIED during HeadObject"), "Give this user or role permission", 75),
        (FileNotFoundError(), "Of a block of 8 photos, none can be read on", 75),
    ],
)
def test_job_ends_with_a_sentence_if_the_store_fails_and_commits_nothing(
    error: Exception,
    message: str,
    exit_code: int,
    uris: list[str],
    tmp_path: Path,
    tiny_bundle: Path,
    failing: Callable[..., None],
) -> None:
    failing(lambda uri: error)
    manifest = write_manifest(tmp_path / "manifest", uris)
    summaries = answer_all(manifest, tmp_path / "answers", tiny_bundle)
    assert message in summaries[0].failure
    assert [summary.exit_code for summary in summaries] == [exit_code] * 3
    failing(lambda uri: None)
    assert [summary.deaths for summary in answer_all(manifest, tmp_path / "answers", tiny_bundle)] == [0, 0, 0]
    assert not [row for row in rows(tmp_path / "answers").values() if row["reason"]]


def test_store_that_goes_down_within_a_block_loses_no_photo(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, failing: Callable[..., None]
) -> None:
    count, lock = iter(range(1000)), threading.Lock()

    def down_after_five(uri: str) -> Exception | None:
        with lock:
            return OSError("timed out") if next(count) >= 5 else None

    failing(down_after_five)
    manifest = write_manifest(tmp_path / "manifest", uris)
    [summary] = answer_all(manifest, tmp_path / "answers", tiny_bundle, block_photos=20)
    assert "the store cannot be reached" in summary.failure
    assert not rows(tmp_path / "answers")


def test_single_photo_that_the_store_does_not_deliver_has_a_reason(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, failing: Callable[..., None]
) -> None:
    failing(lambda uri: OSError("input/output error") if uri == uris[3] else None)
    answer_all(write_manifest(tmp_path / "manifest", uris), tmp_path / "answers", tiny_bundle)
    failed = [row for row in rows(tmp_path / "answers").values() if row["reason"]]
    assert [(row["file"], row["reason"]) for row in failed] == [(uris[3], "PHOTO_UNREADABLE")]


def test_single_photo_that_may_not_be_read_does_not_end_the_job(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, failing: Callable[..., None]
) -> None:
    failing(lambda uri: PermissionError() if uri == uris[3] else None)
    answers, manifest = open_folder(str(tmp_path / "answers")), write_manifest(tmp_path / "manifest", uris)
    [block] = blocks(manifest, 20)
    for _ in range(2):  # two workers died, so each photo is classified separately
        next(InHand(answers, block, [Photo(100 + i, uri) for i, uri in enumerate(uris)]).groups())
    worker(manifest, answers, tiny_bundle).answer(block)
    assert [row["file"] for row in rows(tmp_path / "answers").values() if row["reason"]] == [uris[3]]


def test_deleted_folder_is_answered_on_request(tmp_path: Path, tiny_bundle: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest", [f"{tmp_path}/deleted/{i}.jpg" for i in range(8)])
    answer_all(manifest, tmp_path / "answers", tiny_bundle, accept_unreadable=True)
    assert {row["reason"] for row in rows(tmp_path / "answers").values()} == {"PHOTO_UNREADABLE"}


def test_record_of_a_failed_block_does_not_count_as_a_death(
    uris: list[str], tmp_path: Path, tiny_bundle: Path, failing: Callable[..., None]
) -> None:
    failing(lambda uri: OSError("timed out"))
    answer_all(write_manifest(tmp_path / "manifest", uris), tmp_path / "answers", tiny_bundle)
    records = list((tmp_path / "answers" / "_job" / "in_hand").rglob("*.json"))
    assert not records, json.dumps([str(record) for record in records])
