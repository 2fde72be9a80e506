"""Browser discovery: which Chromium is used, and the error without one."""

from pathlib import Path

import pytest

from planespotter_scraping.crawling import browser


def program(path: Path, exit_code: int = 0) -> Path:
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH of a machine without Playwright's browsers."""
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    return tmp_path


def test_environment_variable_takes_precedence(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(empty_machine / "chromium")
    configured = program(empty_machine / "configured")
    monkeypatch.setenv(browser.VARIABLE, str(configured))
    assert browser.find_chromium() == configured


def test_environment_variable_needs_a_browser_that_starts(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.VARIABLE, "/nowhere/chromium")
    with pytest.raises(browser.BrowserError, match="'/nowhere/chromium' in PLANESPOTTER_CHROMIUM does not start"):
        browser.find_chromium()


def test_browser_that_does_not_start_is_skipped(empty_machine: Path) -> None:
    program(empty_machine / "chromium", exit_code=127)
    good = program(empty_machine / "google-chrome")
    assert browser.find_chromium() == good
    assert browser.ensure_chromium() == good


def test_machine_without_browser_finds_none(empty_machine: Path) -> None:
    assert browser.find_chromium() is None


def test_failed_installation_explains_the_fix(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(program(empty_machine / "python", exit_code=1)))
    with pytest.raises(browser.BrowserError, match=r"Install Chromium .* or set PLANESPOTTER_CHROMIUM"):
        browser.ensure_chromium()
