"""Structured logs on stderr: readable on a terminal, otherwise one JSON object per event, and never a photo."""

import contextlib
import sys
import warnings
from typing import TextIO

import structlog


def configure_logging() -> None:
    """Configure structlog for this process."""
    on_terminal = sys.stderr.isatty()
    # Pillow warns about each damaged EXIF block: any client could fill the log with that.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    # Tracebacks without local variables, which contain photos.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the request_id of the RPC
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.ExceptionRenderer(tracebacks)]),
            console if on_terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(_BestEffortFile(sys.stderr)),  # type: ignore[arg-type]
    )


class _BestEffortFile:
    """A log file that ignores write errors: a closed pipe or a full disk fails no request."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()
