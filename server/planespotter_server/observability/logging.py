"""Structured logs on stderr: readable on a terminal, otherwise one JSON object per event, and never a photo.

A thread writes the lines from a bounded queue: a log that nobody reads, such as a full pipe, cannot block the server.
"""

import contextlib
import json
import logging
import queue
import sys
import threading
import time
import warnings
from typing import TextIO

import structlog

# Lines that wait to be written; when as many wait, further lines are dropped.
MAX_QUEUED_LINES = 2000

log = structlog.get_logger()


def configure_logging() -> None:
    """Configure structlog for this process, also for what libraries log with `logging`."""
    on_terminal = sys.stderr.isatty()
    # Pillow warns about each damaged EXIF block: any client could fill the log with that.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    # Tracebacks without local variables, which contain photos.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    writer = LogWriter(sys.stderr)
    _writers[:] = [writer]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the request_id of the RPC
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.ExceptionRenderer(tracebacks)]),
            console if on_terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]
    )
    # The handler for libraries when no other is configured; Python's own writes to stderr directly, and so can block.
    logging.lastResort = _LibraryHandler(logging.WARNING)


class LogWriter:
    """A log file for structlog that never blocks and never raises: a stuck reader or a full disk fails no request.

    Args:
        file: The file to write to, in a separate thread.
        max_lines: Maximum number of lines that wait to be written.

    Attributes:
        dropped_count: Number of lines that were dropped because the queue was full.
    """

    def __init__(self, file: TextIO, max_lines: int = MAX_QUEUED_LINES) -> None:
        self.dropped_count = 0
        self._file = file
        self._queue: queue.Queue[str | threading.Event] = queue.Queue(max_lines)
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def write(self, text: str) -> None:
        """Queue `text`, or drop it if the queue is full."""
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self.dropped_count += 1

    def flush(self) -> None:
        """Do nothing: the thread flushes each line."""

    def wait_until_written(self, timeout: float) -> bool:
        """Wait until the lines queued so far are written, for at most `timeout` seconds; return whether they are."""
        end, written = time.monotonic() + timeout, threading.Event()
        try:
            self._queue.put(written, timeout=timeout)
        except queue.Full:
            return False
        return written.wait(max(0.0, end - time.monotonic()))

    def _write_all(self) -> None:
        reported_count = 0
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._write(item)
            if (dropped_count := self.dropped_count) > reported_count:
                event = {"event": "log_lines_dropped", "count": dropped_count - reported_count, "level": "warning"}
                self._write(json.dumps(event) + "\n")
                reported_count = dropped_count

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)
            self._file.flush()


class _LibraryHandler(logging.Handler):
    """Logs the records of libraries, such as asyncio and gRPC, with structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log `record`."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        getattr(log, level)("library_log", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)


_writers: list[LogWriter] = []


def flush_logs(timeout: float = 1.0) -> bool:
    """Wait until what has been logged is written, for at most `timeout` seconds; return whether it is."""
    return all(writer.wait_until_written(timeout) for writer in _writers)


def dropped_log_lines() -> int:
    """Return the number of log lines that were dropped because the log could not be written fast enough."""
    return sum(writer.dropped_count for writer in _writers)
