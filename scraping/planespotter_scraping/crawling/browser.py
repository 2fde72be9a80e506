"""Browser discovery: find a Chromium that starts, or install one."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

# In addition to headless: no background traffic, and neither GPU nor QUIC, which servers often lack.
LAUNCH_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
VARIABLE = "PLANESPOTTER_CHROMIUM"


class BrowserError(Exception):
    """No browser is available. The text is for users."""


@contextmanager
def driver_in_new_session() -> Iterator[None]:
    """Start Playwright's driver in a new process session while the context lasts.

    Ctrl-C in a terminal signals the whole process group. The driver would exit at once, and a crawl whose browser is
    starting would hang. In a separate session the driver exits with the crawl, when its standard input closes.
    """
    start = asyncio.create_subprocess_exec  # Playwright has no option for this
    asyncio.create_subprocess_exec = partial(start, start_new_session=True)
    try:
        yield
    finally:
        asyncio.create_subprocess_exec = start


def kill_browsers() -> None:
    """Kill the browsers that this process has started. Playwright's driver notices, and exits in order."""
    import psutil

    with suppress(psutil.Error):
        for driver in psutil.Process().children():
            if "run-driver" in driver.cmdline():
                for process in driver.children(recursive=True):
                    with suppress(psutil.Error):  # it has exited
                        process.kill()


def find_chromium() -> Path | None:
    """Find a Chromium that starts: $PLANESPOTTER_CHROMIUM, else one on the PATH, else Playwright's.

    Returns:
        Path of the program, None if there is none.

    Raises:
        BrowserError: The environment variable is set, but its program does not start.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not starts(Path(named)):
            raise BrowserError(
                f"The browser {named!r} in {VARIABLE} does not start. "
                "Set it to the path of a Chromium or Chrome, or unset it to search for one."
            )
        return Path(named)
    return next((path for path in _candidates() if starts(path)), None)


def ensure_chromium() -> Path:
    """Find a Chromium that starts, or install one.

    Tries Playwright's download first, which needs no privileges, then the system libraries that it may lack, then the
    distribution's package.

    Raises:
        BrowserError: None of these works.
    """
    chromium = find_chromium()
    if chromium is not None:
        return chromium
    playwright = [sys.executable, "-m", "playwright"]
    steps = [[*playwright, "install", "chromium"]]
    sudo = _sudo()
    if sudo is not None and shutil.which("apt-get"):
        steps.append([*sudo, *playwright, "install-deps", "chromium"])
        steps.append([*sudo, "apt-get", "update"])
        steps.append([*sudo, "apt-get", "install", "-y", "--no-install-recommends", "chromium"])
    for step in steps:
        # After a failure, try the next step: it may not depend on this one.
        subprocess.run(step, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
        chromium = find_chromium()
        if chromium is not None:
            return chromium
    raise BrowserError(
        "Chromium is missing and cannot be installed: Playwright's download failed or lacks system libraries, and the "
        "distribution's package could not be installed. Install Chromium with your package manager, for example "
        f"`sudo apt-get install chromium`, or set {VARIABLE} to the path of a browser."
    )


def starts(path: Path) -> bool:
    """Return whether the program at `path` runs. A browser that lacks libraries does not."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _candidates() -> Iterator[Path]:
    """Yield the places of possible browsers, the fastest to look up first."""
    for name in NAMES:
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)
    from playwright.sync_api import sync_playwright  # starts a process, so only if needed

    with sync_playwright() as playwright:
        yield Path(playwright.chromium.executable_path)


def _sudo() -> list[str] | None:
    """Return the prefix for commands that need root, None if root needs a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None
