"""Load test: histograms, measurements, arrival times, dividing a load, and reports."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_client.bench.console_report import as_json, format_duration, format_share, notes
from planespotter_client.bench.html_report import _round_ticks, html_report
from planespotter_client.bench.load_generator import Load, Mode, poisson_arrivals
from planespotter_client.bench.measurements import BenchError, LatencyHistogram, Measurements
from planespotter_client.bench.process_stats import cores, growth_per_hour
from planespotter_client.bench.sweep import Step, find_peak, parse_sweep, sweep

TIMES = st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=300)


def histogram_of(times: list[float]) -> LatencyHistogram:
    latencies = LatencyHistogram()
    for seconds in times:
        latencies.add(seconds)
    return latencies


@given(TIMES, st.floats(0.1, 100))
def test_percentile_is_that_of_the_sorted_times_within_half_a_percent(times: list[float], percent: float) -> None:
    exact = sorted(times)[max(0, math.ceil(len(times) * percent / 100 - 1e-9) - 1)]
    assert histogram_of(times).percentile(percent) == pytest.approx(exact, rel=0.0051)


@given(TIMES, TIMES)
def test_merged_histograms_equal_a_histogram_of_all_times(first: list[float], second: list[float]) -> None:
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    single = histogram_of(first + second)
    assert merged.counts == single.counts
    assert merged.percentile(99) == single.percentile(99)


def test_empty_histogram_has_no_percentile() -> None:
    assert math.isnan(LatencyHistogram().percentile(50))
    assert math.isnan(LatencyHistogram().share_within(1))


@given(st.lists(st.floats(1e-5, 10), min_size=1), st.floats(1e-5, 10))
def test_share_within_a_time_is_exact_except_for_times_next_to_it(times: list[float], limit: float) -> None:
    lower = sum(seconds <= limit * 0.99 for seconds in times) / len(times)
    upper = sum(seconds <= limit * 1.02 for seconds in times) / len(times)
    assert lower <= histogram_of(times).share_within(limit) <= upper


@given(st.integers(0, 1000), st.floats(50, 500))
def test_arrivals_are_sorted_within_the_duration_and_at_their_rate(seed: int, rate: float) -> None:
    seconds = 2000 / rate
    times = list(poisson_arrivals(rate, seconds, random.Random(seed)))
    assert times == sorted(times)
    assert all(0 < time < seconds for time in times)
    assert abs(len(times) - 2000) < 6 * math.sqrt(2000)  # six standard deviations: one in 500 million


def test_intervals_between_arrivals_are_exponentially_distributed() -> None:
    times = list(poisson_arrivals(100, 100, random.Random(1)))
    intervals = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(intervals) / len(intervals)
    spread = math.sqrt(sum((interval - mean) ** 2 for interval in intervals) / len(intervals))
    assert spread / mean == pytest.approx(1, abs=0.05)  # 0 if they were regular
    assert sum(interval > mean for interval in intervals) / len(intervals) == pytest.approx(math.exp(-1), abs=0.02)


@given(st.integers(1, 500), st.integers(1, 16), st.one_of(st.none(), st.integers(1, 1000)))
def test_load_is_divided_among_processes_completely(callers: int, processes: int, photos: int | None) -> None:
    shares = [Load(callers=callers, rate=80, photos=photos).share(index, processes) for index in range(processes)]
    assert sum(share.callers for share in shares) == callers
    assert sum(share.rate or 0 for share in shares) == pytest.approx(80)
    assert photos is None or sum(share.photos or 0 for share in shares) == photos
    assert len({share.seed for share in shares}) == processes


def test_latency_is_measured_from_the_scheduled_time() -> None:
    measurements = Measurements(start=100, end=110, deadline=1)
    measurements.record_sent(101.0, 103.0)  # the generator lagged by 2 s
    measurements.record_answered(101.0, 103.5)
    assert measurements.latencies.percentile(50) == pytest.approx(2.5, rel=0.01)
    assert measurements.generator_lags.percentile(50) == pytest.approx(2, rel=0.01)
    assert measurements.within_deadline == 0


def test_rates_exclude_the_warm_up_and_late_results() -> None:
    measurements = Measurements(start=100, end=110, deadline=5)
    for scheduled, answered in ((99.0, 99.5), (99.9, 100.1), (105.0, 105.1), (109.9, 110.5)):
        measurements.record_sent(scheduled, scheduled)
        measurements.record_answered(scheduled, answered)
    assert measurements.latencies.total == measurements.within_deadline == 2
    assert measurements.throughput == pytest.approx(2 / 10), "results that arrived during the measurement"
    assert measurements.offered == pytest.approx(2 / 10)


def test_errors_are_counted_by_code_and_reason_and_rejections_timed() -> None:
    measurements = Measurements(start=0, end=10, deadline=1)
    measurements.record_failed(1, 1.004, "RESOURCE_EXHAUSTED", "QUEUE_FULL", photos=3)
    measurements.record_failed(2, 3, "UNAVAILABLE")
    assert measurements.errors == {("RESOURCE_EXHAUSTED", "QUEUE_FULL"): 3, ("UNAVAILABLE", ""): 1}
    assert measurements.rejection_latencies.total == 3
    assert measurements.rejection_latencies.percentile(99) == pytest.approx(0.004, rel=0.01)


def test_interrupted_measurement_has_the_rates_of_its_actual_duration() -> None:
    measurements = Measurements(start=0, end=100, deadline=1)
    for second in range(10):
        measurements.record_sent(second + 0.5, second + 0.5)
        measurements.record_answered(second + 0.5, second + 0.6)
    measurements.close(10.0)
    assert measurements.throughput == pytest.approx(1)


def test_memory_leak_of_ten_bytes_per_second_is_36000_per_hour() -> None:
    assert growth_per_hour([(second, 5000 + 10 * second) for second in range(60)]) == pytest.approx(36_000)
    assert growth_per_hour([(1.0, 5)]) == 0


def test_report_extrapolates_throughput_to_all_cores() -> None:
    measured = step_with("8 callers", Load(), 300)
    assert not any("cores" in note for note in notes([measured])), "the CPU time was not measured"
    measured.server_cpu = [(1.0, 40.0), (2.0, 41.0), (3.0, 41.0)]
    measured.measurements.cpu_seconds = 0.25
    [note] = notes([measured])
    assert f"Of {cores()} cores the server used 0.50 (1.67 ms per photo) and the load generator 0.25." in note
    assert f"could classify {600 * cores():,} photos/s" in note


def step_with(name: str, load: Load, throughput: float) -> Step:
    measurements = Measurements(start=0, end=1, deadline=1)
    measurements.record_sent(0.1, 0.1, photos=int(throughput))
    measurements.record_answered(0.1, 0.2, photos=int(throughput))
    return Step(name, load, measurements)


def test_peak_search_raises_callers_until_throughput_peaks_then_offers_less_and_more() -> None:
    def serve(name: str, load: Load) -> Step:
        return step_with(name, load, min(load.rate or 30 * load.callers, 200))

    steps = list(find_peak(Load(), serve))
    assert [step.load.callers for step in steps[:-2]] == [1, 2, 4, 8, 16, 32]
    assert [step.load.rate for step in steps[-2:]] == pytest.approx([140, 400])
    assert notes(steps)[0].startswith("Peak: 200 photos/s, with 8 callers.")
    assert any("At 200 % of it: goodput 100 % of the peak" in note for note in notes(steps))


def test_peak_search_fails_if_no_photo_is_answered() -> None:
    with pytest.raises(BenchError, match="No photo was answered"):
        list(find_peak(Load(), lambda name, load: step_with(name, load, 0)))


def test_sweep_runs_each_of_its_values() -> None:
    steps = list(sweep(Load(), *parse_sweep("rate=50,100.5"), lambda name, load: step_with(name, load, 10)))
    assert [each.load.rate for each in steps] == [50, 100.5]
    steps = list(sweep(Load(rate=3), *parse_sweep("callers=1,256"), lambda name, load: step_with(name, load, 10)))
    assert [(each.load.callers, each.load.rate) for each in steps] == [(1, None), (256, None)]


@pytest.mark.parametrize("text", ["", "callers", "callers=", "callers=1,x", "callers=0", "callers=1.5", "speed=3"])
def test_invalid_sweep_is_rejected(text: str) -> None:
    with pytest.raises(BenchError, match="--sweep cannot be"):
        parse_sweep(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0031, "3.10 ms"), (0.0456, "45.6 ms"), (0.4, "400 ms"), (2.5, "2.5 s"), (math.nan, "-")],
)
def test_durations_are_formatted_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_share_is_100_percent_only_if_complete() -> None:
    assert format_share(9_999_999, 10_000_000) == "99.9 %"
    assert format_share(10, 10) == "100 %"
    assert format_share(0, 0) == "-"


@given(st.floats(1e-3, 1e9))
def test_axis_has_a_few_ticks_up_to_its_maximum(maximum: float) -> None:
    ticks = _round_ticks(maximum)
    assert ticks[0] == 0
    assert ticks[-1] >= maximum * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7


def test_html_report_escapes_names_and_an_empty_step_is_valid() -> None:
    empty = Step("<b>", Load(modes=(Mode.STREAM,)), Measurements(start=0, end=1, deadline=1), interrupted=True)
    page = html_report([empty], {"server": "<script>"})
    assert "<b>" not in page
    assert "<script>" not in page
    assert "Interrupted" in page
    assert as_json([empty], {})["steps"][0]["latency"]["p99"] is None
