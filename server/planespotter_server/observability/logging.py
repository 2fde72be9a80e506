"""Logs on stderr: readable lines on a terminal, else one JSON object for each event. They never hold a photo."""

import contextlib
import sys
import warnings
from typing import TextIO

import structlog


def configure_logs() -> None:
    """Set up structlog for this process."""
    on_terminal = sys.stderr.isatty()
    # Of a photo with a damaged EXIF block Pillow says so; anybody could fill the log with that.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    # Tracebacks without the values of variables, among which are photos.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the request_id of the call
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.ExceptionRenderer(tracebacks)]),
            console if on_terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(_Tolerant(sys.stderr)),  # type: ignore[arg-type]
    )


class _Tolerant:
    """A file to write logs to: whose reader has gone, or whose disk is full, costs no photo its answer."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()
