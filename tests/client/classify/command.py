"""The command `planespotter classify` in this process, and what it writes."""

import csv
import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from planespotter_client.commands.main import main


def run(*arguments: object) -> int:
    """Run `planespotter classify` in this process; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["classify", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def files_in(text: str) -> list[str]:
    """Return the sorted column "file" of a CSV."""
    return sorted(row["file"] for row in csv_rows(text))


def wait_until(condition: Callable[[], Any]) -> Any:
    """Wait up to five minutes until `condition` is true, and return its value."""
    for _ in range(6000):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("the condition is still false after five minutes")
