"""The parts of `make bench` that measure nothing: turns, the history and the report."""

from pathlib import Path

from scripts.bench import history, report
from scripts.bench.__main__ import title_of
from scripts.bench.interleave import in_turns, ratio

MACHINE = {"processor": "a", "cores": 2}


def test_works_take_turns_and_none_always_follows_the_same_other() -> None:
    done: list[str] = []
    wall, processor = in_turns({name: lambda name=name: done.append(name) for name in "abc"}, seconds=0, least=3)  # type: ignore[misc]
    assert "".join(done) == "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in wall.items()} == {"a": 3, "b": 3, "c": 3}
    assert processor.keys() == wall.keys()


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio({"a": [1, 1, 1], "b": [2, 3, 50]}, "a", "b") == 3


def test_each_figure_is_found_in_the_last_run_of_this_machine_that_has_it(tmp_path: Path) -> None:
    past = tmp_path / "results" / "bench.jsonl"
    assert history.earlier(past, MACHINE) == {}
    history.append(past, MACHINE, {"x": 1.0, "y": 7.0})
    history.append(past, MACHINE, {"x": 2.0})  # as a run with --only leaves it
    history.append(past, {**MACHINE, "cores": 4}, {"x": 3.0})
    with past.open("a") as file:
        file.write('{"machine": {"proc')  # as a run that was killed leaves it
    assert {name: one.value for name, one in history.earlier(past, MACHINE).items()} == {"x": 2.0, "y": 7.0}


def test_only_what_changed_by_more_than_noise_is_shown() -> None:
    before = {"x": history.Past("yesterday", 2.0), "y": history.Past("last week", 100.0), "gone": history.Past("", 1.0)}
    changed = history.change(before, {"x": 3.0, "y": 101.0, "new": 1.0})
    assert changed.rows == [["x", "yesterday", "2", "3", "+50%"]]
    assert changed.notes == ["Measured for the first time on this machine, so not compared: 1."]
    assert "No figure has changed" in history.change(before, {"x": 2.0}).notes[0]
    assert "No figure that can be compared has changed" in history.change(before, {"x": 2.0, "new": 1.0}).notes[0]


def test_a_run_with_nothing_to_compare_says_so() -> None:
    for before in ({}, {"gone": history.Past("yesterday", 1.0)}):
        assert "No figure can be compared" in history.change(before, {"x": 2.0}).notes[0]


def test_a_bundle_is_called_what_it_calls_itself_wherever_it_lies(tiny_bundle: Path, tmp_path: Path) -> None:
    for folder in ("VGG16", "full"):  # which are names of the benchmark's own
        (tmp_path / folder).symlink_to(tiny_bundle)
        assert title_of(tmp_path / folder) == "tiny 1"


def test_the_page_shows_tables_pictures_and_sentences_and_takes_names_as_text() -> None:
    section = report.Section("A & B", ["what", "rate"], [["<b>", "1"]], ["A note."], {"x": 2.0, "y": 1.0}, "Rates")
    page = report.to_html("title", [section])
    for part in (
        "<h2>A &amp; B</h2>",
        "<td>&lt;b&gt;</td>",
        "<p>A note.</p>",
        "<svg",
        "<figcaption>Rates</figcaption>",
    ):
        assert part in page
