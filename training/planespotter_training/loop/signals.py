"""Graceful stop: turn the first SIGINT or SIGTERM into an event."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Set the event at the first SIGINT or SIGTERM; a second one ends the process as usual."""
    stop = threading.Event()

    def request_stop(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, handlers[signal.Signals(number)])

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stop
        return
    for number in handlers:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
