"""Who gives way to whom."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from planespotter_server.serving.thread_priority import NICENESS, give_way


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is each thread's own only on Linux")
def test_a_thread_that_gives_way_has_threads_that_do_and_leaves_the_others_alone() -> None:
    before = niceness()

    def of_a_thread_that_it_starts() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(niceness).result()

    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        inside = pool.submit(niceness).result()
        assert inside == min(19, before + NICENESS)
        assert pool.submit(of_a_thread_that_it_starts).result() == inside
    assert niceness() == before
