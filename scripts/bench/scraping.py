"""Measure the crawl on the sample site, beside a bare browser and beside no browser at all: part of `make bench`.

All figures of one run belong together: machines are noisy, so compare the ratios, not figures of different runs. The
site is served by a process of its own, at no delay, and gives the same picture for all photos, since drawing them would
take longer than storing them. Ends in about three minutes; writes build/bench_scraping.json.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

from planespotter_scraping.crawling import browser
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult

PAGES, BARE_PAGES, PHOTO_PAGES = 300, 60, 10
PER_PAGE = 48
LONGEST = 75.0  # seconds for the long crawl: a slow machine measures fewer pages
SITE = f"""
import sys
from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

plain = SampleSite(photos={PAGES * PER_PAGE}, per_page={PER_PAGE})
photo = plain.collection[0]
picture = Reply(drawing.draw(photo.airliner, photo.livery, photo.photo_id), "image/jpeg")
site = SampleSite(plain.photos, plain.per_page, interfere=lambda path, _: picture if "/images/" in path else None)
site.collection
with serve(site) as base:
    print(base, flush=True)
    sys.stdin.read()
"""
CARDS = (
    "cards => cards.map(card => [card.id, card.dataset.photoUrl, ...[...card.querySelectorAll('a')].map(a => a.href)])"
)


class EnoughError(CrawlAbortedError):
    """The time is up."""


class BrowserMemory:
    """The most memory that the browsers of this process have held at a time, in MiB.

    It is the proportional set size: what several processes share counts once.
    """

    def __init__(self) -> None:
        self.most, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "BrowserMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    if "chrom" in process.name():
                        total += process.memory_full_info().pss
                except psutil.Error:  # it has just ended
                    continue
            self.most = max(self.most, total / 2**20)


@contextmanager
def site():  # type: ignore[no-untyped-def]
    """Serve the site from a process of its own; the value is its address."""
    process = subprocess.Popen([sys.executable, "-c", SITE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def pages_per_second(base: str) -> tuple[float, int, float]:
    """Crawl many pages without storing a photo. Return pages per second, how many, and MiB of the browser."""
    times: list[float] = []

    def progress(outcome: CrawlResult) -> None:
        if len(times) < outcome.pages:
            times.append(time.perf_counter())
            if times[-1] - times[0] > LONGEST:
                raise EnoughError("The time is up.")

    with tempfile.TemporaryDirectory() as folder, BrowserMemory() as memory, suppress(EnoughError):
        scrape("sample", Path(folder), url=base, constructors=["none"], progress=progress)
    return (len(times) - 1) / (times[-1] - times[0]), len(times), memory.most


def photos_per_second(base: str) -> float:
    """Crawl some pages and store their photos. Return photos per second, from the first page on."""
    times: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        note: Callable[[CrawlResult], None] = lambda now: times.append((time.perf_counter(), now.stored))  # noqa: E731
        scrape("sample", Path(folder), url=base, constructors=None, pages=PHOTO_PAGES, progress=note)
    return times[-1][1] / (times[-1][0] - times[0][0])


async def bare_playwright(base: str) -> float:
    """Read pages with Playwright alone: one page for all, no pictures, one look into each. Return pages per second."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=browser.find_chromium(), args=list(browser.LAUNCH_ARGUMENTS), chromium_sandbox=False
        )
        page = await chromium.new_page()
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.setBlockedURLs", {"urls": ["*.jpg", "*.png", "*.webp"]})
        await page.goto(f"{base}/photos/latest")
        await page.click("[data-consent=accept]")
        began = time.perf_counter()
        for number in range(1, BARE_PAGES + 1):
            await page.goto(f"{base}/photos/latest?page={number}")
            await page.wait_for_selector("main[aria-busy=false]")
            assert len(await page.eval_on_selector_all("[data-photo-url]", CARDS)) == PER_PAGE
        seconds = time.perf_counter() - began
        await chromium.close()
    return BARE_PAGES / seconds


def plain_httpx(base: str) -> float:
    """Fetch the JSON of which the pages are made. Return pages per second."""
    with httpx.Client(base_url=base) as client:
        began = time.perf_counter()
        for number in range(1, PAGES + 1):
            answer = client.get("/api/photos", params={"page": number, "of": "/photos/latest"})
            assert len(answer.json()["photos"]) == PER_PAGE
        return PAGES / (time.perf_counter() - began)


def seconds_after_a_kill(base: str) -> float:
    """Kill a crawl and start it again. Return the seconds from the kill to the next photo in the catalog."""

    def start() -> "subprocess.Popen[bytes]":
        run = "from planespotter_scraping.cli import app; app()"
        command = [sys.executable, "-c", run, "scrape", "--out", folder, "--url", base]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)

    def wait_for(size: int) -> int:
        while process.poll() is None and (not table.exists() or table.stat().st_size <= size):
            time.sleep(0.005)
        return table.stat().st_size

    def kill() -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        table = Path(folder) / "catalog.csv"
        process = start()
        wait_for(30_000)
        kill()
        size, began = table.stat().st_size, time.perf_counter()
        process = start()
        wait_for(size)
        seconds = time.perf_counter() - began
        kill()
    return seconds


def report(figures: dict[str, float]) -> Table:
    """Return the figures as a table."""
    ours, bare, plain = (figures[name] for name in ("pages/s", "pages/s, Playwright alone", "pages/s, httpx"))
    table = Table("measured", "figure", "ratio")
    table.add_row(f"pages a second, of {PER_PAGE} photos each", f"{ours:.1f}", "1")
    table.add_row("the same by Playwright alone, one page for all", f"{bare:.1f}", f"{bare / ours:.1f}")
    table.add_row("the JSON behind them by httpx, no browser", f"{plain:.0f}", f"{plain / ours:.0f}")
    table.add_row("photos a second, to the disk", f"{figures['photos/s']:.0f}", "")
    table.add_row(f"browser memory over {figures['pages']:.0f} pages, MiB", f"{figures['browser MiB']:.0f}", "")
    table.add_row("from a kill to the next photo, s", f"{figures['s after a kill']:.1f}", "")
    return table


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description="Measure the crawl, beside a bare browser and beside none.")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench_scraping.json"), help="where to write the figures"
    )
    arguments = parser.parse_args()
    browser.ensure_chromium()
    with site() as base:
        ours, pages, memory = pages_per_second(base)
        figures = {
            "pages/s": ours,
            "pages/s, Playwright alone": asyncio.run(bare_playwright(base)),
            "pages/s, httpx": plain_httpx(base),
            "photos/s": photos_per_second(base),
            "pages": float(pages),
            "browser MiB": memory,
            "s after a kill": seconds_after_a_kill(base),
        }
    Console().print(report(figures))
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
