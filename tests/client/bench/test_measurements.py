"""The figures of `planespotter bench`: counting, percentiles, random times and dividing a load."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_client.bench.console_report import as_json, duration, notes, share
from planespotter_client.bench.html_report import _round_ticks, page
from planespotter_client.bench.load_generator import Load, Mode, arrivals
from planespotter_client.bench.measurements import BenchError, Latencies, Recording
from planespotter_client.bench.process_stats import cores, growth
from planespotter_client.bench.sweep import Step, find_peak, read_sweep, sweep

TIMES = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=300)


def recorded(times: list[float]) -> Latencies:
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)
    return latencies


@given(TIMES, st.floats(0.1, 100))
def test_a_percentile_is_that_of_the_sorted_times_within_half_a_per_cent(times: list[float], percent: float) -> None:
    exact = sorted(times)[max(0, math.ceil(len(times) * percent / 100 - 1e-9) - 1)]
    assert recorded(times).percentile(percent) == pytest.approx(exact, rel=0.0051)


@given(TIMES, TIMES)
def test_what_two_processes_counted_is_as_if_one_had_counted_all(first: list[float], second: list[float]) -> None:
    together = recorded(first)
    together.merge(recorded(second))
    alone = recorded(first + second)
    assert together.counts == alone.counts
    assert together.percentile(99) == alone.percentile(99)


def test_of_nothing_there_is_no_percentile() -> None:
    assert math.isnan(Latencies().percentile(50))
    assert math.isnan(Latencies().share_within(1))


@given(st.lists(st.floats(1e-5, 10), min_size=1), st.floats(1e-5, 10))
def test_the_share_within_a_time_is_right_but_for_times_next_to_it(times: list[float], limit: float) -> None:
    least = sum(seconds <= limit * 0.99 for seconds in times) / len(times)
    most = sum(seconds <= limit * 1.02 for seconds in times) / len(times)
    assert least <= recorded(times).share_within(limit) <= most


@given(st.integers(0, 1000), st.floats(50, 500))
def test_arrivals_come_in_order_within_the_time_and_at_their_rate(seed: int, rate: float) -> None:
    seconds = 2000 / rate
    times = list(arrivals(rate, seconds, random.Random(seed)))
    assert times == sorted(times)
    assert all(0 < time < seconds for time in times)
    assert abs(len(times) - 2000) < 6 * math.sqrt(2000)  # of a Poisson distribution this is one in 500 million


def test_the_pauses_between_arrivals_vary_as_those_of_independent_users_do() -> None:
    times = list(arrivals(100, 100, random.Random(1)))
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(pauses) / len(pauses)
    spread = math.sqrt(sum((pause - mean) ** 2 for pause in pauses) / len(pauses))
    assert spread / mean == pytest.approx(1, abs=0.05)  # 0 if they were regular
    assert sum(pause > mean for pause in pauses) / len(pauses) == pytest.approx(math.exp(-1), abs=0.02)


@given(st.integers(1, 500), st.integers(1, 16), st.one_of(st.none(), st.integers(1, 1000)))
def test_processes_divide_a_load_without_rest(callers: int, processes: int, photos: int | None) -> None:
    shares = [Load(callers=callers, rate=80, photos=photos).share(index, processes) for index in range(processes)]
    assert sum(share.callers for share in shares) == callers
    assert sum(share.rate or 0 for share in shares) == pytest.approx(80)
    assert photos is None or sum(share.photos or 0 for share in shares) == photos
    assert len({share.seed for share in shares}) == processes


def test_latency_counts_from_when_a_photo_was_meant_to_be_sent() -> None:
    recording = Recording(start=100, end=110, deadline=1)
    recording.sent(101.0, 103.0)  # the generator was held up for 2 s
    recording.answered(101.0, 103.5)
    assert recording.answers.percentile(50) == pytest.approx(2.5, rel=0.01)
    assert recording.lags.percentile(50) == pytest.approx(2, rel=0.01)
    assert recording.in_time == 0


def test_the_warm_up_and_what_comes_late_is_kept_out_of_the_rates() -> None:
    recording = Recording(start=100, end=110, deadline=5)
    for intended, answered in ((99.0, 99.5), (99.9, 100.1), (105.0, 105.1), (109.9, 110.5)):
        recording.sent(intended, intended)
        recording.answered(intended, answered)
    assert recording.answers.total == recording.in_time == 2
    assert recording.throughput == pytest.approx(2 / 10), "answers that came while it was measured"
    assert recording.offered == pytest.approx(2 / 10)


def test_errors_are_counted_by_code_and_reason_and_refusals_timed() -> None:
    recording = Recording(start=0, end=10, deadline=1)
    recording.failed(1, 1.004, "RESOURCE_EXHAUSTED", "QUEUE_FULL", photos=3)
    recording.failed(2, 3, "UNAVAILABLE")
    assert recording.errors == {("RESOURCE_EXHAUSTED", "QUEUE_FULL"): 3, ("UNAVAILABLE", ""): 1}
    assert recording.refusals.total == 3
    assert recording.refusals.percentile(99) == pytest.approx(0.004, rel=0.01)


def test_an_interrupted_measurement_has_the_rates_of_the_time_that_it_took() -> None:
    recording = Recording(start=0, end=100, deadline=1)
    for second in range(10):
        recording.sent(second + 0.5, second + 0.5)
        recording.answered(second + 0.5, second + 0.6)
    recording.close(10.0)
    assert recording.throughput == pytest.approx(1)


def test_the_memory_of_a_server_that_leaks_ten_bytes_a_second_grows_by_36000_an_hour() -> None:
    assert growth([(second, 5000 + 10 * second) for second in range(60)]) == pytest.approx(36_000)
    assert growth([(1.0, 5)]) == 0


def test_it_says_what_the_server_could_do_with_all_cores_to_itself() -> None:
    measured = step("8 callers", Load(), 300)
    assert not any("cores" in note for note in notes([measured])), "nobody watched"
    measured.server_processor = [(1.0, 40.0), (2.0, 41.0), (3.0, 41.0)]
    measured.recording.processor_seconds = 0.25
    [note] = notes([measured])
    assert f"Of {cores()} cores the server used 0.50 (1.67 ms for each answer) and the generator 0.25." in note
    assert f"could give {600 * cores():,} answers/s" in note


def step(name: str, load: Load, throughput: float) -> Step:
    recording = Recording(start=0, end=1, deadline=1)
    recording.sent(0.1, 0.1, photos=int(throughput))
    recording.answered(0.1, 0.2, photos=int(throughput))
    return Step(name, load, recording)


def test_the_peak_is_looked_for_until_more_callers_bring_nothing_and_then_loaded_below_and_beyond() -> None:
    def serve(name: str, load: Load) -> Step:
        return step(name, load, min(load.rate or 30 * load.callers, 200))

    steps = list(find_peak(Load(), serve))
    assert [step.load.callers for step in steps[:-2]] == [1, 2, 4, 8, 16, 32]
    assert [step.load.rate for step in steps[-2:]] == pytest.approx([140, 400])
    assert notes(steps)[0].startswith("Peak: 200 photos/s, with 8 callers.")
    assert any("At 200 % of it: answers in time at 100 % of the peak's rate" in note for note in notes(steps))


def test_no_peak_is_looked_for_where_nothing_is_answered() -> None:
    with pytest.raises(BenchError, match="Not one photo was answered"):
        list(find_peak(Load(), lambda name, load: step(name, load, 0)))


def test_a_sweep_runs_each_of_its_values() -> None:
    steps = list(sweep(Load(), *read_sweep("rate=50,100.5"), lambda name, load: step(name, load, 10)))
    assert [each.load.rate for each in steps] == [50, 100.5]
    steps = list(sweep(Load(rate=3), *read_sweep("callers=1,256"), lambda name, load: step(name, load, 10)))
    assert [(each.load.callers, each.load.rate) for each in steps] == [(1, None), (256, None)]


@pytest.mark.parametrize("text", ["", "callers", "callers=", "callers=1,x", "callers=0", "callers=1.5", "speed=3"])
def test_a_sweep_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="--sweep cannot be"):
        read_sweep(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0031, "3.10 ms"), (0.0456, "45.6 ms"), (0.4, "400 ms"), (2.5, "2.5 s"), (math.nan, "-")],
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_share_is_all_only_if_it_is() -> None:
    assert share(9_999_999, 10_000_000) == "99.9 %"
    assert share(10, 10) == "100 %"
    assert share(0, 0) == "-"


@given(st.floats(1e-3, 1e9))
def test_an_axis_has_a_few_ticks_that_reach_beyond_its_highest_value(highest: float) -> None:
    ticks = _round_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7


def test_names_are_no_markup_in_the_page_and_nothing_measured_is_no_error() -> None:
    empty = Step("<b>", Load(modes=(Mode.STREAM,)), Recording(start=0, end=1, deadline=1), interrupted=True)
    made = page([empty], {"server": "<script>"})
    assert "<b>" not in made
    assert "<script>" not in made
    assert "Interrupted" in made
    assert as_json([empty], {})["steps"][0]["answers"]["p99"] is None
