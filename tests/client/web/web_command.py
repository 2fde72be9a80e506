"""The command `planespotter web` as a separate process."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def web(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `planespotter web`; yield the URL of the page and the process."""
    program = [sys.executable, "-m", "planespotter_client.commands.main", "web", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            match = re.fullmatch(r"Drop photos on (http://\S+/)\n", process.stdout.readline())
            assert match
            yield match[1], process
        finally:
            process.send_signal(signal.SIGTERM)
