"""Thread priority: worker threads have a higher niceness than the event loop."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from planespotter_server.serving.thread_priority import NICENESS, lower_priority


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is per thread only on Linux")
def test_lower_priority_is_inherited_by_child_threads_and_does_not_affect_others() -> None:
    initial = niceness()

    def niceness_of_child_thread() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(niceness).result()

    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        inside = pool.submit(niceness).result()
        assert inside == min(19, initial + NICENESS)
        assert pool.submit(niceness_of_child_thread).result() == inside
    assert niceness() == initial
