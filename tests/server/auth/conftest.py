"""Fixtures of authentication: a token file, and file watchers that look at each call."""

from pathlib import Path

import pytest

from planespotter_server.auth import file_watcher


@pytest.fixture(autouse=True)
def no_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice changed files at once."""
    monkeypatch.setattr(file_watcher, "POLL_INTERVAL", 0.0)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Path of a token file that does not exist yet."""
    return tmp_path / "tokens.txt"
