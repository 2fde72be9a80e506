"""Find a Chromium for the crawl, or install one."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

# Besides headless: nothing that phones home, and no GPU or QUIC, which servers without a screen do not have.
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
    """No browser can be had. The text says what was tried and what to do."""


@contextmanager
def out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Start Playwright's driver, meanwhile, in a session of its own.

    Ctrl-C at a terminal goes to all processes of a command. The driver would die of it at once, and if its browser is
    just starting, the crawl would wait for it without end. Left alone, it ends when the crawl does: its input closes.
    """
    start = asyncio.create_subprocess_exec  # Playwright has no option for this
    asyncio.create_subprocess_exec = partial(start, start_new_session=True)
    try:
        yield
    finally:
        asyncio.create_subprocess_exec = start


def find_chromium() -> Path | None:
    """Return a Chromium that starts: $PLANESPOTTER_CHROMIUM, else one on the PATH, else Playwright's; else None.

    Raises BrowserError if the variable is set and what it names does not start.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not starts(Path(named)):
            raise BrowserError(
                f"{VARIABLE} is {named!r}, which does not start as a browser. "
                "Set it to the path of a Chromium or Chrome, or unset it to look for one."
            )
        return Path(named)
    return next((path for path in _candidates() if starts(path)), None)


def ensure_chromium() -> Path:
    """Return a Chromium that starts, and install one if there is none.

    Tries Playwright's own download first, which needs no privileges, then the libraries that it lacks on a bare
    system, then the distribution's package. Raises BrowserError if none of them helps.
    """
    found = find_chromium()
    if found is not None:
        return found
    playwright = [sys.executable, "-m", "playwright"]
    steps = [[*playwright, "install", "chromium"]]
    become_root = _become_root()
    if become_root is not None and shutil.which("apt-get"):
        steps.append([*become_root, *playwright, "install-deps", "chromium"])
        steps.append([*become_root, "apt-get", "update"])
        steps.append([*become_root, "apt-get", "install", "-y", "--no-install-recommends", "chromium"])
    for step in steps:
        # A step that fails is no reason to stop: the next one may do without it.
        subprocess.run(step, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
        found = find_chromium()
        if found is not None:
            return found
    raise BrowserError(
        "No Chromium was found, and none could be installed: Playwright's download failed or lacks system "
        "libraries, and the distribution's package could not be installed. Install Chromium with your package "
        f"manager, for example `sudo apt-get install chromium`, or set {VARIABLE} to the path of a browser."
    )


def starts(path: Path) -> bool:
    """Return whether the program at `path` runs at all. A browser whose libraries are missing does not."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _candidates() -> Iterator[Path]:
    """Yield the browsers that may be here, the quickest to find first."""
    for name in NAMES:
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path)
    from playwright.sync_api import sync_playwright  # starts a helper process, hence only now

    with sync_playwright() as playwright:
        yield Path(playwright.chromium.executable_path)


def _become_root() -> list[str] | None:
    """Return what to put before a command that needs root; None if root is out of reach without a password."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None
