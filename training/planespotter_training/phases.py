"""Phases of long work on the console: a spinner on a terminal, a line in a log."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def phase(console: Console, what: str) -> Iterator[None]:
    """Show what is being done: without a terminal by a line at its start, so that a log is not silent for minutes."""
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        console.print(f"{what} ...", highlight=False, soft_wrap=True)
        yield
