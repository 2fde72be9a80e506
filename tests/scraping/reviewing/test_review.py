"""Reviews without a page: what comes first, the decision log, several reviewers, accuracy, the catalog at the end."""

import csv
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.scraping.cleaning.test_clean import jpeg, scene

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.cleaning import clean
from planespotter_scraping.reviewing import (
    ORDERS,
    Decision,
    DecisionLog,
    Reviewable,
    ReviewError,
    ReviewPhoto,
    ReviewSession,
    apply_review,
    known_types,
    load,
    ranked,
    summarize,
    summary_sentences,
)
from planespotter_scraping.reviewing.accuracy import Share
from planespotter_scraping.reviewing.session import RESERVED_SECONDS, parse_correction

COLUMNS = (
    *("file", "level", "probability", "constructor", "family", "model"),
    *("best_guess_constructor", "best_guess_family", "best_guess_model", "best_guess_model_probability", "candidates"),
)
LABELS = {"a": ("Airbus", "A320-214"), "b": ("Boeing", "737-8AS"), "c": ("Boeing", "787-9"), "d": ("Airbus", "A321neo")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "photos"
    for number, (photo_id, (constructor, kind)) in enumerate(LABELS.items()):
        row = {"photo_id": photo_id, "source": "site", "constructor": constructor, "aircraft_type": kind}
        catalog.append(out, row, jpeg(scene(number)))
    return out


def predictions(file: Path, rows: dict[str, tuple[str, float, int]]) -> Path:
    """Write predictions: by file the path "Boeing/737/737-800", its probability, and how many levels are confident."""
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for name, (path, probability, confident) in rows.items():
            names = path.split("/")
            shown = [each if depth < confident else "" for depth, each in enumerate(names)]
            level = ("unknown", "constructor", "family", "model")[confident]
            candidates = f"{names[0]} {names[2]} {probability:.6f}"
            writer.writerow([name, level, probability, *shown, *names, probability, candidates])
    return file


def image(folder: Path, photo_id: str) -> str:
    return str(folder / "images" / "site" / f"{photo_id}.jpg")


@contextmanager
def reviewing(
    review: Reviewable, order: str = "random", random_share: float = 0.25, limit: int | None = None
) -> Iterator[ReviewSession]:
    review.out.mkdir(exist_ok=True)
    with DecisionLog(review.out) as log:
        yield ReviewSession(review.photos, log, order, random_share, limit)


def logged(folder: Path) -> dict[str, Decision]:
    with DecisionLog(folder) as log:
        return log.decisions


def photo(key: str, confidence: float | None = None, **values: float) -> ReviewPhoto:
    path = ("Boeing", "737", "737-800")
    return ReviewPhoto(key, Path(key), path, is_label=False, confident=3, confidence=confidence, **values)  # type: ignore[arg-type]


# ---- what comes first


def keys(photos: Sequence[ReviewPhoto]) -> list[str]:
    return [each.key for each in photos]


def test_photos_that_teach_most_come_first() -> None:
    photos = [photo("a", 0.9), photo("b", 0.2, conflict=0.1), photo("c", 0.5, suspicion=0.8), photo("d", conflict=0.7)]
    assert keys(ORDERS["least-confident"](photos)) == ["b", "c", "a", "d"]
    assert keys(ORDERS["disagreements"](photos)) == ["d", "b", "c", "a"]
    assert keys(ORDERS["label-errors"](photos)) == ["c", "b", "a", "d"]


def test_balanced_order_serves_ranges_of_probability_round_robin() -> None:
    photos = [photo(f"{number}", 0.95) for number in range(50)] + [photo("low", 0.05), photo("middle", 0.55)]
    assert set(keys(ORDERS["balanced"](photos))[:2]) == {"low", "middle"}


def test_label_errors_of_a_catalog_are_those_of_the_explore_report(folder: Path, tmp_path: Path) -> None:
    rows = {
        image(folder, "b"): ("Airbus/A321/A321neo", 0.97, 3),
        image(folder, "c"): ("Boeing/787/787-9", 0.4, 1),
        image(folder, "a"): ("Airbus/A320/A320neo", 0.8, 3),
    }
    review = load(folder, [predictions(tmp_path / "answers.csv", rows)])
    by_key = {each.key: each for each in review.photos}
    assert {key: each.suspicion for key, each in by_key.items()} == {"a": 0.8, "b": 0.97, "c": 0.0, "d": 0.0}
    assert keys(ORDERS["label-errors"](review.photos))[:3] == ["b", "a", "c"]
    assert by_key["b"].proposal == ("Boeing", "737", "737-800")
    assert by_key["b"].candidates == (("Airbus A321neo", 0.97),)


def test_two_networks_that_contradict_each_other_are_a_conflict(folder: Path, tmp_path: Path) -> None:
    files = [
        predictions(tmp_path / "first.csv", {image(folder, key): ("Boeing/737/737-800", 0.9, 3) for key in "ab"}),
        predictions(
            tmp_path / "second.csv",
            {image(folder, "a"): ("Boeing/737/737-700", 0.6, 3), image(folder, "b"): ("Boeing/737/737-800", 0.5, 3)},
        ),
    ]
    review = load(files[0], files[1:], tmp_path / "out")
    assert {Path(each.key).stem: each.conflict for each in review.photos} == {"a": 0.6, "b": 0.0}
    assert review.photos[0].notes == ("Network 2: Boeing 737-700 (60%).",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.csv",), "is neither the folder of a catalog nor a file of predictions"),
        (("answers.csv",), r"Name the folder for the reviewed photos of answers.csv: --out CATALOG."),
        (("answers.csv", (), Path("out")), r"No photo of .*answers.csv exists, such as gone.jpg. .* --root FOLDER"),
        (("text.csv", (), Path("out")), "is not a CSV file of predictions: it has no column 'file'"),
    ],
)
def test_unusable_input_is_a_sentence(tmp_path: Path, arguments: tuple, words: str) -> None:  # type: ignore[type-arg]
    predictions(tmp_path / "answers.csv", {"gone.jpg": ("Boeing/737/737-800", 0.9, 3)})
    (tmp_path / "text.csv").write_text("hello\n")
    with pytest.raises(CatalogError, match=words):
        load(tmp_path / arguments[0], *arguments[1:])


# ---- the decision log


def test_a_kill_within_a_write_loses_only_the_decision_being_written(folder: Path) -> None:
    with reviewing(load(folder)) as session:
        session.decide("page", "a", "accept", "Ann")
        session.decide("page", "b", "correct", "Ann", "A321neo")
    path = folder / "review.jsonl"
    complete = path.read_bytes()
    path.write_bytes(complete + complete.splitlines()[0][:40])
    decisions = logged(folder)
    assert {key: each.label for key, each in decisions.items()} == {
        "a": ("Airbus", "A320", "A320-200"),
        "b": ("Airbus", "A321", "A321neo"),
    }
    assert path.read_bytes() == complete
    first = json.loads(complete.splitlines()[0])
    assert (first["by"], first["decision"], len(first["at"])) == ("Ann", "accept", 25)


def test_a_damaged_line_of_the_log_is_named(folder: Path) -> None:
    (folder / "review.jsonl").write_text('{"photo": "a"}\n')
    with pytest.raises(ReviewError, match=r"Line 1 of .*review.jsonl is not a decision"):
        DecisionLog(folder)


def test_undo_returns_the_photo_and_stays_in_the_log(folder: Path) -> None:
    with reviewing(load(folder)) as session:
        (first, *_) = session.next_photos("page", 4)
        session.decide("page", first.key, "skip", "Ann")
        undone = session.undo("page", "Ann")
        assert undone is not None
        assert undone.key == first.key
        assert session.undo("page", "Ann") is None
        assert session.progress().decided == 0
        session.decide("page", first.key, "accept", "Ann")
    assert logged(folder)[first.key].decision == "accept"
    assert [json.loads(line)["decision"] for line in (folder / "review.jsonl").read_text().splitlines()] == [
        "skip",
        "undo",
        "accept",
    ]


# ---- several reviewers


def test_two_reviewers_never_have_the_same_photo(folder: Path) -> None:
    with reviewing(load(folder)) as session:
        hers, his = session.next_photos("hers", 2), session.next_photos("his", 8)
        assert len({*keys(hers), *keys(his)}) == 4
        assert session.next_photos("third", 4) == []
        assert keys(session.next_photos("hers", 2)) == keys(hers)
        for each in hers:
            session.decide("hers", each.key, "accept", "Ann")
        with pytest.raises(ReviewError, match="Ann has decided this photo in the meantime"):
            session.decide("his", hers[0].key, "skip", "Bob")
        session.decide("his", his[0].key, "skip", "Bob")
        assert session.progress().by == {"Ann": 2, "Bob": 1}


def test_photos_of_a_closed_page_go_to_the_others(folder: Path) -> None:
    time = 0.0
    with DecisionLog(folder) as log:
        session = ReviewSession(load(folder).photos, log, "random", 0.25, clock=lambda: time)
        gone = session.next_photos("closed", 4)
        time = RESERVED_SECONDS - 1
        assert session.next_photos("other", 4) == []
        time = RESERVED_SECONDS + 1
        assert set(keys(session.next_photos("other", 4))) == set(keys(gone))


def test_a_limit_counts_the_decisions_of_earlier_sessions(folder: Path) -> None:
    with reviewing(load(folder), limit=3) as session:
        for each in session.next_photos("page", 2):
            session.decide("page", each.key, "accept", "Ann")
    with reviewing(load(folder), limit=3) as session:
        assert len(session.next_photos("page", 8)) == 1
        assert session.progress().total == 3


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("737-800", ("Boeing", "737-800")),
        ("b38m", ("Boeing", "737 MAX 8")),
        ("Airbus A320", ("Airbus", "A320")),
        ("Embraer E190", ("Embraer", "E190")),
        ("Boeing", ("Boeing", "")),
    ],
)
def test_a_correction_is_a_type_as_people_write_it(text: str, label: tuple[str, str]) -> None:
    assert parse_correction(text) == label


@pytest.mark.parametrize("text", ["", "some plane", "x" * 81])
def test_a_correction_without_a_constructor_is_rejected_with_a_sentence(text: str) -> None:
    with pytest.raises(ReviewError, match=r"does not name its constructor. Write it first|has (0|81) characters"):
        parse_correction(text)


def test_three_letters_find_a_type_by_name_or_code(folder: Path) -> None:
    types = {each.name: each for each in known_types(load(folder).photos)}
    assert {"737800", "B738", "738", "73H"} <= set(types["Boeing 737-800"].keys)
    assert types["Boeing 737-800"].photos == 1
    assert next(iter(types)) in {"Airbus A320-200", "Airbus A321neo", "Boeing 737-800", "Boeing 787-9"}


# ---- the accuracy


def decided(key: str, correct: bool, decision: str = "") -> Decision:
    kind = decision or ("accept" if correct else "correct")
    shown = ("Boeing", "737", "737-800")
    return Decision(key, kind, "Ann", "now", shown, False, 3, "" if correct else "Boeing", "" if correct else "737-700")


def test_the_accuracy_is_unbiased_whichever_photos_came_first() -> None:
    """Of 1,000 photos, 30 % are wrong, and the least confident ones first: they must not lower the estimate."""
    generator = random.Random(4)
    wrong = {f"{number}": generator.random() < 0.3 for number in range(1000)}
    photos = [photo(key, 0.1 if wrong[key] else 0.9) for key in wrong]
    path = Path("unused")
    session = ReviewSession(photos, _LogInMemory(), "least-confident", 0.25)  # type: ignore[arg-type]
    for _ in range(400):
        (first, *_rest) = session.next_photos("page", 1)
        session.decide("page", first.key, "correct" if wrong[first.key] else "accept", "Ann", "737-700")
    summary = session.summary()
    reviewed = sum(each.decision == "correct" for each in session._log.decisions.values()) / 400
    share = summary.accuracy["model"]
    assert reviewed > 0.6
    assert share.photos >= 100
    assert share.interval[0] < 1 - sum(wrong.values()) / 1000 < share.interval[1]
    assert not path.exists()


class _LogInMemory:
    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}

    def append(self, decision: Decision) -> None:
        self.decisions[decision.photo] = decision


def test_the_sample_ends_at_the_first_photo_without_a_decision() -> None:
    order = ranked(f"{number}" for number in range(10))
    decisions = {key: decided(key, correct=index != 1) for index, key in enumerate(order) if index != 4}
    summary = summarize(order, decisions)
    assert summary.sample == 4
    assert summary.accuracy["model"] == Share(3, 4)
    assert summary.accuracy["constructor"] == Share(4, 4)


def test_no_aircraft_is_an_error_at_every_level_and_unknown_does_not_count() -> None:
    order = ranked("abc")
    kinds = dict(zip(order, ("no-aircraft", "unknown", "accept"), strict=True))
    summary = summarize(order, {key: decided(key, kind == "accept", kind) for key, kind in kinds.items()})
    assert summary.accuracy["constructor"] == Share(1, 2)
    assert summary.confident == Share(1, 2)
    lines = list(summary_sentences(summary))
    assert lines[0] == "3 photos reviewed: 1 accepted, 0 corrected, 1 unknown, 1 without an aircraft, 0 skipped."
    assert "  model       50% of 2 (9% to 91%)" in lines
    assert lines[-1] == "1 photo of the sample skipped or unknown, and not counted."


def test_the_interval_holds_at_the_ends() -> None:
    assert Share(0, 0).interval == (0.0, 1.0)
    low, high = Share(50, 50).interval
    assert (round(low, 3), high) == (0.929, 1.0)


# ---- the catalog at the end


def review_all(review: Reviewable, decisions: dict[str, tuple[str, str]]) -> None:
    with reviewing(review) as session:
        for key, (decision, text) in decisions.items():
            session.decide("page", key, decision, "Ann", text)


def table(folder: Path) -> dict[str, tuple[str, str]]:
    frame = catalog.read(folder)
    return dict(zip(frame["photo_id"], zip(frame["constructor"], frame["aircraft_type"], strict=True), strict=True))


def test_a_reviewed_catalog_has_the_corrected_labels_and_an_undo_the_former_ones(folder: Path) -> None:
    former = table(folder)
    review = load(folder)
    review_all(
        review,
        {"a": ("accept", ""), "b": ("correct", "A321neo"), "c": ("unknown", ""), "d": ("no-aircraft", "")},
    )
    applied = apply_review(review, logged(folder))
    assert (applied.photos, applied.corrected, applied.dropped) == (3, 2, 1)
    assert table(folder) == {"a": ("Airbus", "A320-214"), "b": ("Airbus", "A321neo"), "d": ("No aircraft", "")}
    frame = catalog.read(folder)
    assert set(frame["reviewed_by"]) == {"Ann"}
    assert list(catalog.dropped(folder)["drop_reason"]) == ["A reviewer could not see what aircraft it is."]
    assert apply_review(load(folder), logged(folder)).corrected == 0
    clean.undo(folder)
    assert table(folder) == former
    assert list(catalog.read(folder)["reviewed_by"]) == ["Ann", "", "", ""]


def test_a_label_that_was_edited_after_the_review_stays_as_it_is(folder: Path) -> None:
    review_all(load(folder), {"a": ("accept", "")})
    apply_review(load(folder), logged(folder))
    file = folder / "catalog.csv"
    file.write_text(file.read_text().replace("A320-214", "A320-251N"))
    apply_review(load(folder), logged(folder))
    assert table(folder)["a"] == ("Airbus", "A320-251N")


def test_reviewed_predictions_become_a_catalog(folder: Path, tmp_path: Path) -> None:
    rows = {image(folder, key): ("Boeing/737/737-800", 0.5, 1) for key in LABELS}
    file, out = predictions(tmp_path / "answers.csv", rows), tmp_path / "reviewed"
    a, b, c, _ = rows
    review_all(load(file, out=out), {a: ("correct", "A320neo"), b: ("accept", ""), c: ("unknown", "")})
    applied = apply_review(load(file, out=out), logged(out))
    assert applied.imported.stored == 2
    assert sorted(table(out).values()) == [("Airbus", "A320neo"), ("Boeing", "737-800")]
    catalog.check(out, catalog.read(out), hashes=True)
    assert set(catalog.read(out)["reviewed_by"]) == {"Ann"}
    assert apply_review(load(file, out=out), logged(out)).imported.known == 2
