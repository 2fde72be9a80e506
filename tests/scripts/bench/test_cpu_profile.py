"""Processor time per photo by part of the server."""

import pytest
from scripts.bench.cpu_profile import GRPC, NETWORK, REST, part_of, shares_by_thread, show, split_time

LOOP = "run_until_complete (asyncio/runners.py:118)"
DECODE = "ServedModel._decode (planespotter_server/serving/served_model.py:159)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ([LOOP], GRPC),
        ([LOOP, "prediction (planespotter_server/rpc/converters.py:44)"], "conversion"),
        ([DECODE, "Image.resize (PIL/Image.py:2420)"], "decode"),
        ([DECODE, "stack (numpy/_core/shape_base.py:1)"], "batcher"),
        (["main (planespotter_client/commands/main.py:175)"], REST),
    ],
)
def test_stack_belongs_to_the_part_of_its_innermost_known_frame(stack: list[str], part: str) -> None:
    assert part_of(stack) == part


def test_threads_that_wait_for_work_do_not_count() -> None:
    waiting = "_worker (concurrent/futures/thread.py:81)"
    samples = f"thread (1): decode_0;{waiting} 70\nthread (1): decode_0;{DECODE};load (PIL/ImageFile.py:1) 3\n"
    assert shares_by_thread(samples) == {"decode_0": {"decode": 1.0}}


def test_time_of_each_thread_is_divided_by_its_samples_and_native_threads_by_their_names() -> None:
    seconds = {"MainThread": 1.0, "event_engine": 0.2, "python": 0.5}
    parts = split_time(seconds, {"MainThread": {GRPC: 0.75, "admission": 0.25}}, 1000)
    assert parts == pytest.approx({GRPC: 950, "admission": 250, NETWORK: 500})


def test_table_shows_what_the_server_costs_beyond_decoding_and_network() -> None:
    alone = {"photos/s": 800.0, "decode": 700.0, NETWORK: 1500.0}
    table = show({"alone": alone, "unary": {**alone, "photos/s": 500.0, GRPC: 300.0}})
    row = [list(column.cells) for column in table.columns]
    assert [cells[-2] for cells in row] == ["beyond decoding and network alone", "0", "300"]
