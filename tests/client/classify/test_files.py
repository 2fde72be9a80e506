"""The parts of `planespotter classify` that deal with files: finding photos, keeping answers, filing photos."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planespotter_client import (
    Alternative,
    Classification,
    Level,
    PhotoAnswer,
    PlaneSpotterError,
    ScoredLabel,
    UnavailableError,
    UnreadablePhotoError,
)
from planespotter_client.classify import (
    answer_log,
    file_discovery,
    filing,
    folder_watcher,
    parquet,
    reconnecting_stream,
    serialization,
    sources,
)
from planespotter_client.classify.answer_log import Done
from planespotter_client.classify.progress import Tally

NAMES = st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=12)


def said(level: Level = Level.MODEL, model: str = "737-800") -> Classification:
    leaf = Alternative("Boeing", "737", model, 0.9)
    return Classification(
        level, ScoredLabel("Boeing", 0.99), ScoredLabel("737", 0.95), ScoredLabel(model, 0.9 if model else 0.0), (leaf,)
    )


def answer(name: str, failed: bool = False) -> PhotoAnswer:
    if failed:
        return PhotoAnswer(0, name, name, error=UnreadablePhotoError('It is no photo, it says; "quoted",\nof course.'))
    return PhotoAnswer(0, name, name, classification=said())


# Finding photos


def test_a_pattern_finds_photos_and_folders_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/one.jpg", "a/b/two.PNG", "a/notes.txt", "c/three.webp", "odd[1].jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert sorted(file_discovery.matches("a/*")) == ["a/b", "a/one.jpg"]
    assert sorted(file_discovery.matches("**")) == ["a/b/two.PNG", "a/one.jpg", "c/three.webp", "odd[1].jpg"]
    assert not file_discovery.is_pattern("odd[1].jpg"), "what is there under this very name is meant"
    assert file_discovery.find_nothing(["a", "*.gif", "odd[1].jpg", "nowhere.jpg", "-"]) == ["*.gif", "nowhere.jpg"]


def test_the_folder_that_photos_are_filed_in_is_not_searched(tmp_path: Path) -> None:
    for name in ("photo.jpg", "sorted/photo.jpg", "other/photo.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list(file_discovery.find_photos([tmp_path], leave_out=tmp_path / "other" / ".." / "sorted"))
    assert found == [str(tmp_path / "photo.jpg"), str(tmp_path / "other" / "photo.jpg")]


@pytest.mark.parametrize(
    ("text", "end", "paths"),
    [
        (b"a.jpg\nb c.jpg\r\n\nlast.jpg", b"\n", ["a.jpg", "b c.jpg", "last.jpg"]),
        (b"a\nb.jpg\0last.jpg\0", b"\0", ["a\nb.jpg", "last.jpg"]),
        (b"", b"\n", []),
        (b"\xe9.jpg\n", b"\n", [os.fsdecode(b"\xe9.jpg")]),
    ],
)
def test_listed_paths_come_one_by_one(text: bytes, end: bytes, paths: list[str]) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, text)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        assert list(file_discovery.listed(file, end)) == paths


def test_a_listed_path_comes_before_the_next_is_there() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as file:
        listed = file_discovery.listed(file)
        for name in ("one.jpg", "two.jpg"):
            os.write(theirs, f"{name}\n".encode())
            assert next(listed) == name
        os.close(theirs)


# Answers in a file


def keep(path: Path, answers: list[PhotoAnswer], **options: Any) -> list[bool]:
    """Open `path`, add the answers to photos that it does not have, and return which it had."""
    kind = {".csv": {"lines": False}, ".jsonl": {"lines": True}}.get(path.suffix)
    file = (
        answer_log.answers_file(path, serialization.COLUMNS, **kind, **options)
        if kind
        else parquet.parquet_file(path, serialization.COLUMNS)
    )
    had = []
    with file as kept:
        for one in answers:
            had.append(not kept.done.add(serialization.identity({"file": one.photo_id})))
            if not had[-1]:
                kept.write(one)
    return had


def names_in(path: Path) -> list[str]:
    columns = serialization.COLUMNS
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return [str(name) for name in pyarrow.parquet.read_table(path)["file"].to_pylist()]
    read = answer_log.csv_records if path.suffix == ".csv" else answer_log.json_records
    with path.open("rb") as file:
        return [record.values["file"] for record in read(path, file, columns) if record.values]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=6, unique_by=os.path.normpath), cut=st.floats(0, 1))
@example(names=['a,"b"\n.jpg', "b\r.jpg"], cut=0.99)
@example(names=["failed"], cut=0.9375)  # after a line's end within quotes
def test_wherever_a_kill_cuts_the_file_the_next_run_makes_it_whole(
    tmp_path: Path, suffix: str, names: list[str], cut: float
) -> None:
    path = tmp_path / f"answers{suffix}"
    path.unlink(missing_ok=True)
    answers = [answer(name, failed=len(name) % 3 == 0) for name in names]
    keep(path, answers)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    keep(path, answers)
    assert path.read_bytes() == whole
    assert keep(path, answers) == [True] * len(names)
    assert names_in(path) == names


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_later_run_adds_to_what_is_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    odd = os.fsdecode(b"\xe9.jpg")
    assert keep(path, [answer("a.jpg"), answer(odd, failed=True)]) == [False, False]
    assert keep(path, [answer("./a.jpg"), answer("b.jpg"), answer(odd), answer("b.jpg")]) == [True, False, True, True]
    assert len(names_in(path)) == 3
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_photos_that_failed_are_tried_again_on_request(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    keep(path, [answer("a.jpg"), answer("bad.jpg", failed=True), answer("b.jpg")])
    path.chmod(0o640)
    assert keep(path, [answer("bad.jpg"), answer("a.jpg")], retry_failed=True) == [False, True]
    assert names_in(path) == ["a.jpg", "b.jpg", "bad.jpg"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_tries_again_too(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    keep(path, [answer("a.jpg"), answer("bad.jpg", failed=True)])
    with parquet.parquet_file(path, serialization.COLUMNS, retry_failed=True) as kept:
        assert "a.jpg" in kept.done
        assert "bad.jpg" not in kept.done
        kept.write(answer("bad.jpg"))
    assert names_in(path) == ["a.jpg", "bad.jpg"]


def test_what_a_killed_run_left_in_the_journal_gets_into_the_parquet_file_once(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    keep(path, [answer("a.jpg")])
    with answer_log.answers_file(parquet.journal_of(path), serialization.COLUMNS, lines=True) as left:
        left.write(answer("a.jpg"))  # as if the kill had come before the journal was taken away
        left.write(answer("b.jpg"))
    assert keep(path, [answer("a.jpg"), answer("b.jpg"), answer("c.jpg")]) == [True, True, False]
    assert names_in(path) == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_the_tree_does_not_have_is_empty_and_not_improbable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers{suffix}"
    keep(path, [PhotoAnswer(0, "a.jpg", b"", classification=said(Level.FAMILY, model=""))])
    if suffix == ".csv":
        [row] = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        assert (row["model"], row["model_probability"], row["alternatives"]) == ("", "", "Boeing 737 0.900000")
        return
    if suffix == ".jsonl":
        row = json.loads(path.read_text(encoding="utf-8"))
    else:
        import pyarrow.parquet

        [row] = pyarrow.parquet.read_table(path).to_pylist()
    assert (row["model"], row["model_probability"]) == (None, None)
    assert (row["alternatives"][0]["name"], row["alternatives"][0]["model"]) == ("Boeing 737", None)


def test_parquet_holds_numbers_and_alternatives(tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / "answers.parquet"
    keep(path, [answer("a.jpg"), answer("bad.jpg", failed=True)])
    first, second = pyarrow.parquet.read_table(path).to_pylist()
    assert first["model_probability"] == 0.9
    path_of_it = {"constructor": "Boeing", "family": "737", "model": "737-800"}
    assert first["alternatives"] == [{"name": "Boeing 737-800", **path_of_it, "probability": 0.9}]
    assert (second["level"], second["constructor_probability"]) == (None, None)
    assert "no photo" in second["error"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.csv", b"my,own,notes\n1,2,3\n", "does not begin with the headings file,level"),
        (
            "notes.csv",
            ",".join(serialization.COLUMNS).encode() + b"\na.jpg,x\nb.jpg" + b"," * 9 + b"\n",
            "line 2 has not the 10",
        ),
        ("notes.csv", b"my\rown\rnotes\n", "line 1 is no CSV"),
        ("notes.jsonl", b"not json at all\n", "line 1 is no JSON object that names a file"),
        ("notes.jsonl", b'{"file": "clip.mp4", "seconds": 1.0}\n', "about frames where photos are asked for"),
        ("notes.parquet", b"no parquet", "is no Parquet file that can be read"),
    ],
)
def test_a_file_that_holds_no_answers_is_left_as_it_is(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(answer_log.AnswersError, match=why):
        keep(path, [answer("a.jpg")])
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_time_in_a_video_that_is_none_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'{"file": "clip.mp4", "seconds": "soon"}\n')
    with (
        pytest.raises(answer_log.AnswersError, match="'soon' is no time in a video"),
        answer_log.answers_file(path, serialization.FRAME_COLUMNS, lines=True),
    ):
        pass


def test_a_parquet_file_that_is_damaged_within_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    keep(path, [answer(f"{number}.jpg") for number in range(100)])
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\0" * 200 + whole[204:])
    with pytest.raises(answer_log.AnswersError, match="is no Parquet file that can be read"):
        keep(path, [])


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    with (
        answer_log.answers_file(path, serialization.COLUMNS, lines=False),
        pytest.raises(answer_log.AnswersError, match="Another planespotter is writing to"),
    ):
        keep(path, [])


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(answer_log.AnswersError, match=r"pip install 'planespotter\[parquet\]'"):
        keep(tmp_path / "answers.parquet", [])


def test_what_is_done_is_kept_in_few_bytes() -> None:
    done = answer_log.Done()
    names = [f"archive/{number:06}.jpg" for number in range(30_000)]
    assert all(done.add(name) for name in names)
    assert not any(done.add(name) for name in names[:100])
    assert names[-1] in done
    assert "archive/other.jpg" not in done
    assert len(done) == 30_000
    assert sum(part.__sizeof__() for part in done._parts) < 12 * 30_000


# Filing photos


@pytest.mark.parametrize(
    ("level", "place"),
    [
        (Level.MODEL, "Boeing/737-800"),
        (Level.FAMILY, "Boeing/737"),
        (Level.CONSTRUCTOR, "Boeing"),
        (Level.UNKNOWN, "unknown"),
    ],
)
def test_photos_are_filed_by_what_is_sure(tmp_path: Path, level: Level, place: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    filed = filing.file_photo(str(tmp_path / "photo.jpg"), said(level), tmp_path / "sorted")
    assert filed == tmp_path / "sorted" / place / "photo.jpg"
    assert filed.read_bytes() == b"photo"
    assert (tmp_path / "photo.jpg").exists(), "nothing is moved"


@pytest.mark.parametrize("link", filing.Link)
def test_a_photo_that_is_gone_is_not_filed(tmp_path: Path, link: filing.Link) -> None:
    with pytest.raises(filing.PhotoGoneError, match=r"photo\.jpg was moved or deleted before it could be filed"):
        filing.file_photo(str(tmp_path / "photo.jpg"), said(), tmp_path / "sorted", link)
    assert [path for path in (tmp_path / "sorted").rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("link", filing.Link)
def test_photos_of_one_name_get_numbers_and_a_second_run_changes_nothing(tmp_path: Path, link: filing.Link) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "photo.jpg").write_bytes(folder.encode())

    def file_all() -> list[tuple[str, bytes]]:
        for folder in "abc":
            filing.file_photo(str(tmp_path / folder / "photo.jpg"), said(), tmp_path / "sorted", link)
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
def test_what_a_server_says_stays_one_folder_below(name: str, folder: str) -> None:
    assert filing.safe(name).strip(".") == folder.strip(".")
    assert "/" not in filing.safe(name)


def test_a_drive_that_refuses_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    (tmp_path / "sorted").write_bytes(b"no folder")
    with pytest.raises(filing.SortingError, match=r"photo\.jpg cannot be filed in .*sorted/Boeing/737-800: Not a dir"):
        filing.file_photo(str(tmp_path / "photo.jpg"), said(), tmp_path / "sorted")


# Watching a folder


@pytest.fixture
def jpeg(paint: Any) -> bytes:
    photo: bytes = paint("737-800")
    return photo


def test_a_photo_is_given_once_when_it_has_settled(tmp_path: Path, jpeg: bytes) -> None:
    folder = folder_watcher.Folder(tmp_path)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg)
    (tmp_path / ".hidden.jpg").write_bytes(jpeg)
    (tmp_path / "notes.txt").write_bytes(jpeg)
    assert list(folder.look(0)) == []
    assert list(folder.look(folder_watcher.SETTLED / 2)) == []
    assert list(folder.look(folder_watcher.SETTLED)) == [str(photo)]
    assert list(folder.look(100)) == []
    photo.write_bytes(jpeg + jpeg)
    assert list(folder.look(200)) == list(folder.look(300)) == []


def test_a_half_written_photo_waits_for_the_rest(tmp_path: Path, jpeg: bytes) -> None:
    folder = folder_watcher.Folder(tmp_path)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg[:300])
    assert list(folder.look(0)) == list(folder.look(30)) == []
    photo.write_bytes(jpeg)
    assert list(folder.look(31)) == [], "it has just changed"
    assert list(folder.look(32)) == [str(photo)]


def test_a_photo_whose_rest_never_comes_is_given_all_the_same(tmp_path: Path, jpeg: bytes) -> None:
    folder = folder_watcher.Folder(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(jpeg[:300])
    assert list(folder.look(0)) == list(folder.look(folder_watcher.GIVEN_UP - 1)) == []
    assert len(list(folder.look(folder_watcher.GIVEN_UP))) == 1


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_end_of_a_photo_is_known_by_its_format(tmp_path: Path, paint: Any, file_format: str) -> None:
    photo, path = paint("747", file_format), tmp_path / "photo"
    path.write_bytes(photo)
    assert folder_watcher.has_end(str(path))
    path.write_bytes(photo + b"notes of the camera")
    assert folder_watcher.has_end(str(path))
    path.write_bytes(photo[:-20])
    assert not folder_watcher.has_end(str(path))
    path.write_bytes(b"")
    assert not folder_watcher.has_end(str(path))


class Failing:
    """A server that goes away after so many answers, each time, until it has nothing more to fail with."""

    def __init__(self, lives: list[int]) -> None:
        self.lives = lives
        self.waits = 0

    def stream(self, given: Iterator[Any], **options: Any) -> Iterator[PhotoAnswer]:
        left = self.lives.pop(0) if self.lives else 10**9
        ahead = [(index, photo) for index, photo in zip(range(3), given, strict=False)]
        index = len(ahead)
        while ahead:
            if not left:
                raise UnavailableError("It has gone.")
            left -= 1
            place, photo = ahead.pop(left % len(ahead))  # in any order
            yield PhotoAnswer(place, photo, photo, classification=said())
            for photo in given:
                ahead.append((index, photo))
                index += 1
                break

    def wait_until_ready(self) -> None:
        self.waits += 1
        if self.waits % 2:
            raise UnavailableError("Not yet.")


@given(st.integers(0, 30), st.lists(st.integers(0, 9), max_size=6))
def test_each_photo_is_answered_once_however_often_the_server_goes_away(count: int, lives: list[int]) -> None:
    given = [f"{number}.jpg" for number in range(count)]
    told: list[PlaneSpotterError] = []
    server: Any = Failing(list(lives))
    answered = [one.photo_id for one in reconnecting_stream.lasting(server, iter(given), told.append)]
    assert sorted(answered) == sorted(given)
    assert server.waits >= len(told)


def test_the_row_of_a_frame_says_which_frame_it_is_about() -> None:
    frame = PhotoAnswer(0, serialization.frame_id("clip.mp4", 12.5), None, classification=said())
    values = serialization.row(frame, serialization.FRAME_COLUMNS)
    assert (values["file"], values["seconds"]) == ("clip.mp4", 12.5)
    assert (
        serialization.identity(values) == "clip.mp4#t=12.500" == serialization.identity(json.loads(json.dumps(values)))
    )
    cells = dict(
        zip(serialization.FRAME_COLUMNS, serialization.csv_cells(values, serialization.FRAME_COLUMNS), strict=True)
    )
    assert cells["seconds"] == "12.500"
    assert serialization.identity(cells) == "clip.mp4#t=12.500"


# What is to be done


@pytest.mark.parametrize("walked", [0, 1, 2])
def test_what_a_run_was_to_answer_leaves_out_what_had_an_answer_before_wherever_it_lies(
    tmp_path: Path, walked: int
) -> None:
    names = [str(tmp_path / f"{letter}.jpg") for letter in "abcde"]
    for name in names:
        Path(name).touch()
    done, tally = Done(), Tally()
    for name in (names[1], names[4]):  # one soon and one late in the walk
        done.add(serialization.identity({"file": name}))
    options: dict[str, Any] = {"recursive": True, "null": False, "leave_out": None, "unreadable": pytest.fail}
    source = sources.chosen([str(tmp_path)], done=done, tally=tally, **options)
    assert [next(source.photos) for _ in range(walked)] == [names[0], names[2]][:walked]
    assert source.due() == 3
    assert sources.chosen([str(tmp_path)], done=None, tally=Tally(), **options).due() == 5
    assert sources.chosen(["-"], done=done, tally=tally, **options).due() is None
