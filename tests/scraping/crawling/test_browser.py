"""Finding a Chromium, and saying what to do where there is none."""

from pathlib import Path

import pytest

from planespotter_scraping.crawling import browser


def program(path: Path, exit_code: int = 0) -> Path:
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, on a machine where Playwright has downloaded nothing."""
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    return tmp_path


def test_the_browser_that_the_variable_names_comes_first(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(empty_machine / "chromium")
    mine = program(empty_machine / "mine")
    monkeypatch.setenv(browser.VARIABLE, str(mine))
    assert browser.find_chromium() == mine


def test_a_variable_that_names_no_browser_is_an_error(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.VARIABLE, "/nowhere/chromium")
    with pytest.raises(browser.BrowserError, match="'/nowhere/chromium', which does not start"):
        browser.find_chromium()


def test_one_that_does_not_start_is_passed_over(empty_machine: Path) -> None:
    program(empty_machine / "chromium", exit_code=127)
    good = program(empty_machine / "google-chrome")
    assert browser.find_chromium() == good
    assert browser.ensure_chromium() == good


def test_without_any_browser_none_is_found(empty_machine: Path) -> None:
    assert browser.find_chromium() is None


def test_where_none_can_be_installed_a_sentence_says_what_to_do(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(program(empty_machine / "python", exit_code=1)))
    with pytest.raises(browser.BrowserError, match=r"Install Chromium .* or set PLANESPOTTER_CHROMIUM"):
        browser.ensure_chromium()
