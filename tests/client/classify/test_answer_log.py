"""The answer log, CSV, JSON lines or Parquet: crash safety, resuming, retries, invalid files."""

import csv
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.client.classify.results import prediction, result

from planespotter_client import Level, PhotoResult
from planespotter_client.classify import answer_log, parquet, serialization


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "now", lambda: "2026-11-30T12:00:00.000+01:00")


FILE_NAMES = st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=12)


def append(path: Path, results: list[PhotoResult], **options: Any) -> list[bool]:
    """Resume `path`, append the results of photos that it has none for, and return which it had."""
    logged = answer_log.LogOptions(**options)
    json_lines = {".csv": False, ".jsonl": True}.get(path.suffix)
    opened = (
        parquet.open_parquet(path, serialization.COLUMNS, options=logged)
        if json_lines is None
        else answer_log.open_answer_log(path, serialization.COLUMNS, json_lines=json_lines, options=logged)
    )
    had = []
    with opened as log:
        for each in results:
            had.append(not log.answered.add(serialization.photo_key({"file": each.photo_id})))
            if not had[-1]:
                log.append(each)
    return had


def names_in(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return [str(name) for name in pyarrow.parquet.read_table(path)["file"].to_pylist()]
    read_rows = answer_log.read_csv_rows if path.suffix == ".csv" else answer_log.read_json_rows
    with path.open("rb") as file:
        return [row.values["file"] for row in read_rows(path, file, serialization.COLUMNS) if row.values]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(FILE_NAMES, min_size=1, max_size=6, unique_by=os.path.normpath), cut=st.floats(0, 1))
@example(names=['a,"b"\n.jpg', "b\r.jpg"], cut=0.99)
@example(names=["failed"], cut=0.9375)  # after a line end within quotes
def test_log_truncated_anywhere_by_a_kill_is_repaired_by_the_next_run(
    tmp_path: Path, suffix: str, names: list[str], cut: float
) -> None:
    path = tmp_path / f"answers{suffix}"
    path.unlink(missing_ok=True)
    results = [result(name, failed=len(name) % 3 == 0) for name in names]
    append(path, results)
    complete = path.read_bytes()
    path.write_bytes(complete[: int(cut * len(complete))])
    append(path, results)
    assert path.read_bytes() == complete
    assert append(path, results) == [True] * len(names)
    assert names_in(path) == names


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_later_run_appends_and_skips_answered_photos(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    odd = os.fsdecode(b"\xe9.jpg")
    assert append(path, [result("a.jpg"), result(odd, failed=True)]) == [False, False]
    assert append(path, [result("./a.jpg"), result("b.jpg"), result(odd), result("b.jpg")]) == [True, False, True, True]
    assert len(names_in(path)) == 3
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_failed_photos_are_retried_on_request(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    append(path, [result("a.jpg"), result("bad.jpg", failed=True), result("b.jpg")])
    path.chmod(0o640)
    assert append(path, [result("bad.jpg"), result("a.jpg")], retry_failed=True) == [False, True]
    assert names_in(path) == ["a.jpg", "b.jpg", "bad.jpg"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_failed_photos_in_parquet_are_retried_on_request(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    append(path, [result("a.jpg"), result("bad.jpg", failed=True)])
    with parquet.open_parquet(path, serialization.COLUMNS, options=answer_log.LogOptions(retry_failed=True)) as log:
        assert serialization.photo_key({"file": "a.jpg"}) in log.answered
        assert serialization.photo_key({"file": "bad.jpg"}) not in log.answered
        log.append(result("bad.jpg"))
    assert names_in(path) == ["a.jpg", "bad.jpg"]


def test_each_result_of_a_snapshot_that_changes_is_kept_in_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = tmp_path / "results.parquet", answer_log.LogOptions(keep_times=True)
    for minute in (0, 1):
        monkeypatch.setattr(serialization, "now", lambda minute=minute: f"2026-11-30T12:0{minute}:00.000+01:00")
        with parquet.open_parquet(path, serialization.COLUMNS, options=options) as log:
            log.append(result("snapshot.jpg"))
    assert names_in(path) == ["snapshot.jpg", "snapshot.jpg"]
    with parquet.open_parquet(path, serialization.COLUMNS, options=options) as log:
        latest = datetime(2026, 11, 30, 11, 1, tzinfo=UTC).timestamp()
        assert log.times == {serialization.photo_key({"file": "snapshot.jpg"}): latest}


def test_log_of_a_killed_run_is_merged_into_the_parquet_file_once(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    append(path, [result("a.jpg")])
    log_path = parquet.log_path_of(path)
    with answer_log.open_answer_log(log_path, serialization.COLUMNS, json_lines=True) as log:
        log.append(result("a.jpg"))  # as if the kill came after the merge and before the log was deleted
        log.append(result("b.jpg"))
    assert append(path, [result("a.jpg"), result("b.jpg"), result("c.jpg")]) == [True, True, False]
    assert names_in(path) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_level_that_the_tree_does_not_have_is_empty_and_not_improbable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    append(path, [PhotoResult(0, "a.jpg", b"", prediction=prediction(Level.FAMILY, model=""))])
    if suffix == ".csv":
        [row] = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        assert (row["model"], row["model_probability"], row["candidates"]) == ("", "", "Boeing 737 0.900000")
        return
    if suffix == ".jsonl":
        row = json.loads(path.read_text(encoding="utf-8"))
    else:
        import pyarrow.parquet

        [row] = pyarrow.parquet.read_table(path).to_pylist()
    assert (row["model"], row["model_probability"]) == (None, None)
    assert (row["candidates"][0]["name"], row["candidates"][0]["model"]) == ("Boeing 737", None)


def test_parquet_has_typed_probabilities_and_candidates(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "results.parquet"
    append(path, [result("a.jpg"), result("bad.jpg", failed=True)])
    first, second = pyarrow.parquet.read_table(path).to_pylist()
    assert first["model_probability"] == 0.9
    labels = {"constructor": "Boeing", "family": "737", "model": "737-800"}
    assert first["candidates"] == [{"name": "Boeing 737-800", **labels, "probability": 0.9}]
    assert (second["level"], second["constructor_probability"]) == (None, None)
    assert "not a photo" in second["error"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.csv", b"my,own,notes\n1,2,3\n", "its header does not have the columns file, time, level"),
        (
            "notes.csv",
            ",".join(serialization.COLUMNS).encode() + b"\na.jpg,x\nb.jpg" + b"," * 19 + b"\n",
            "line 2 does not have 20 cells",
        ),
        ("notes.csv", b"my\rown\rnotes\n", "its header does not have the columns"),
        ("notes.jsonl", b"not json at all\n", "line 1 is not a JSON object with a file"),
        ("notes.jsonl", b'{"file": "clip.mp4", "seconds": 1.0}\n', "it has results for video frames instead of photos"),
        ("notes.parquet", b"not parquet", "cannot be read as a Parquet file"),
    ],
)
def test_file_that_is_not_an_answer_log_is_not_touched(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(answer_log.AnswerLogError, match=why):
        append(path, [result("a.jpg")])
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_invalid_time_of_a_video_frame_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'{"file": "clip.mp4", "seconds": "soon"}\n')
    with (
        pytest.raises(answer_log.AnswerLogError, match="'soon' is not a time in a video"),
        answer_log.open_answer_log(path, serialization.FRAME_COLUMNS, json_lines=True),
    ):
        pass


def test_corrupt_parquet_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    append(path, [result(f"{number}.jpg") for number in range(100)])
    complete = path.read_bytes()
    path.write_bytes(complete[:4] + b"\0" * 200 + complete[204:])
    with pytest.raises(answer_log.AnswerLogError, match="cannot be read as a Parquet file"):
        append(path, [])


def test_log_is_locked_against_a_second_run(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with (
        answer_log.open_answer_log(path, serialization.COLUMNS, json_lines=False),
        pytest.raises(answer_log.AnswerLogError, match="Another planespotter is writing to"),
    ):
        append(path, [])


def test_missing_pyarrow_names_the_parquet_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(answer_log.AnswerLogError, match=r"pip install '.*\[parquet\]'"):
        append(tmp_path / "results.parquet", [])


def test_answered_photos_take_about_eight_bytes_each() -> None:
    answered = answer_log.HashedSet()
    names = [f"archive/{number:06}.jpg" for number in range(30_000)]
    assert all(answered.add(name) for name in names)
    assert not any(answered.add(name) for name in names[:100])
    assert names[-1] in answered
    assert "archive/other.jpg" not in answered
    assert len(answered) == 30_000
    assert sum(bucket.__sizeof__() for bucket in answered._buckets) < 12 * 30_000


def test_row_of_a_video_frame_identifies_the_frame() -> None:
    frame = PhotoResult(0, serialization.frame_id("clip.mp4", 12.5), None, prediction=prediction())
    row = serialization.to_row(frame, serialization.FRAME_COLUMNS)
    assert (row["file"], row["seconds"]) == ("clip.mp4", 12.5)
    assert serialization.photo_key(row) == str(Path.cwd() / "clip.mp4#t=12.500")
    assert serialization.photo_key(json.loads(json.dumps(row))) == str(Path.cwd() / "clip.mp4#t=12.500")
    cells = serialization.csv_cells(row, serialization.FRAME_COLUMNS)
    csv_row = dict(zip(serialization.FRAME_COLUMNS, cells, strict=True))
    assert csv_row["seconds"] == "12.500"
    assert serialization.photo_key(csv_row) == str(Path.cwd() / "clip.mp4#t=12.500")
