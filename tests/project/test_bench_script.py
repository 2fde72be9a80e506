"""The parts of `make bench` that measure nothing: turns, the history and the report."""

from pathlib import Path

from scripts.bench import history, report
from scripts.bench.turns import in_turns, ratio

MACHINE = {"processor": "a", "cores": 2}


def test_works_take_turns_and_none_always_follows_the_same_other() -> None:
    done: list[str] = []
    wall, processor = in_turns({name: lambda name=name: done.append(name) for name in "abc"}, seconds=0, least=3)  # type: ignore[misc]
    assert "".join(done) == "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in wall.items()} == {"a": 3, "b": 3, "c": 3}
    assert processor.keys() == wall.keys()


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio({"a": [1, 1, 1], "b": [2, 3, 50]}, "a", "b") == 3


def test_the_last_run_of_this_machine_is_found_again(tmp_path: Path) -> None:
    past = tmp_path / "results" / "bench.jsonl"
    assert history.last(past, MACHINE) is None
    history.append(past, MACHINE, {"x": 1.0})
    history.append(past, MACHINE, {"x": 2.0})
    history.append(past, {**MACHINE, "cores": 4}, {"x": 3.0})
    with past.open("a") as file:
        file.write('{"machine": {"proc')  # as a run that was killed leaves it
    found = history.last(past, MACHINE)
    assert found is not None
    assert found["figures"] == {"x": 2.0}


def test_only_what_changed_by_more_than_noise_is_shown() -> None:
    before = {"time": "yesterday", "figures": {"x": 2.0, "y": 100.0, "gone": 1.0}}
    assert history.change(before, {"x": 3.0, "y": 101.0, "new": 1.0}).rows == [["x", "2", "3", "+50%"]]
    assert "No figure has changed" in history.change(before, {"x": 2.0}).notes[0]
    assert "first run" in history.change(None, {"x": 2.0}).notes[0]


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
