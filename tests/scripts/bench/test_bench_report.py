"""Benchmarks: interleaved timing, history and report."""

from pathlib import Path

from scripts.bench import history, report
from scripts.bench.__main__ import title_of
from scripts.bench.interleave import speedup, time_interleaved

MACHINE = {"processor": "a", "cores": 2}


def test_timing_is_interleaved_in_alternating_order() -> None:
    calls: list[str] = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    wall, cpu = time_interleaved(functions, seconds=0, min_rounds=3)
    assert "".join(calls) == "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in wall.items()} == {"a": 3, "b": 3, "c": 3}
    assert cpu.keys() == wall.keys()


def test_speedup_is_the_median_over_the_rounds() -> None:
    assert speedup({"a": [1, 1, 1], "b": [2, 3, 50]}, "a", "b") == 3


def test_history_returns_the_latest_value_of_each_metric_on_this_machine(tmp_path: Path) -> None:
    past = tmp_path / "results" / "bench.jsonl"
    assert history.latest(past, MACHINE) == {}
    history.append(past, MACHINE, {"x": 1.0, "y": 7.0})
    history.append(past, MACHINE, {"x": 2.0})  # a run with --only
    history.append(past, {**MACHINE, "cores": 4}, {"x": 3.0})
    with past.open("a") as file:
        file.write('{"machine": {"proc')  # a run that was killed
    assert {name: metric.value for name, metric in history.latest(past, MACHINE).items()} == {"x": 2.0, "y": 7.0}


def test_only_changes_above_noise_are_shown() -> None:
    past = {"x": history.Past("yesterday", 2.0), "y": history.Past("last week", 100.0), "gone": history.Past("", 1.0)}
    changed = history.compare(past, {"x": 3.0, "y": 101.0, "new": 1.0})
    assert changed.rows == [["x", "yesterday", "2", "3", "+50%"]]
    assert changed.notes == ["Measured for the first time on this machine, so not compared: 1."]
    assert "No metric has changed" in history.compare(past, {"x": 2.0}).notes[0]
    assert "No comparable metric has changed" in history.compare(past, {"x": 2.0, "new": 1.0}).notes[0]


def test_run_without_comparable_metrics_is_noted() -> None:
    for past in ({}, {"gone": history.Past("yesterday", 1.0)}):
        assert "No metric to compare" in history.compare(past, {"x": 2.0}).notes[0]


def test_title_of_a_bundle_does_not_depend_on_its_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    for folder in ("VGG16", "full"):  # reserved by the benchmark
        (tmp_path / folder).symlink_to(tiny_bundle)
        assert title_of(tmp_path / folder) == "tiny 1"


def test_page_contains_tables_charts_and_notes_and_escapes_names() -> None:
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
