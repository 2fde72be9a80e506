"""Commands that run in other processes until a test is done with them: servers and the page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

PLANESPOTTER = [sys.executable, "-m", "planespotter_client.commands.main"]
Process = subprocess.Popen[str]


@contextmanager
def ready_command(first_line: str, *arguments: object) -> Iterator[tuple[str, Process]]:
    """Run a command of planespotter that prints its address when it is ready; yield the address and the process.

    Args:
        first_line: Pattern of the line, whose group is the address.
        arguments: The command and its arguments.
    """
    command = [*PLANESPOTTER, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            match = re.fullmatch(first_line, process.stdout.readline())
            assert match
            yield match[1], process
        finally:
            process.terminate()


def serve(*arguments: object) -> AbstractContextManager[tuple[str, Process]]:
    """Run `planespotter serve`; yield its address and its process."""
    return ready_command(r"Serving \S+ \S+ on (\S+)\n", "serve", *arguments)


def serving(bundle: Path, port: int = 0, **settings: object) -> AbstractContextManager[tuple[str, Process]]:
    """Run `planespotter serve` with `bundle`; yield its address and its process."""
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    return serve("--model", bundle, "--port", port, *flags)


def web(*arguments: object) -> AbstractContextManager[tuple[str, Process]]:
    """Run `planespotter web`; yield the URL of the page and the process."""
    return ready_command(r"Drop photos on (http://\S+/)\n", "web", "--port", 0, *arguments)
