"""Scraping benchmark: crawl of the sample site vs. Playwright alone and plain HTTP; part of `make bench`.

Compare the ratios within one run, not measurements of different runs: machines are noisy. The site runs in a separate
process without delays and serves the same image for all photos, since drawing them would take longer than storing them.
"Playwright alone" is the shortest program that does the same: it reads a page in one tab, downloads its images four at
a time, and writes them to files without validating or syncing them.
Takes about three minutes; writes build/bench_scraping.json.
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
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

from planespotter_scraping.crawling import browser
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.photo_sink import MAX_CONCURRENT_IMAGES
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult, ScrapeError
from planespotter_scraping.sites.sample import parse

PAGES, PHOTO_PAGES, ROUNDS = 300, 40, 2
PER_PAGE = 48
MAX_CRAWL_SECONDS = 75.0  # a slow machine measures fewer pages
SITE = f"""
import sys
from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

plain = SampleSite(photos={PAGES * PER_PAGE}, per_page={PER_PAGE})
photo = plain.collection[0]
picture = Reply(drawing.draw(photo.airliner, photo.livery, photo.photo_id), "image/jpeg")
site = SampleSite(plain.photos, plain.per_page, intercept=lambda path, _: picture if "/images/" in path else None)
site.collection
with serve(site) as base:
    print(base, flush=True)
    sys.stdin.read()
"""


class TimeLimitError(CrawlAbortedError):
    """The time limit of the crawl is reached."""


class BrowserMemory:
    """Peak memory of this process's browsers in MiB.

    Measured as proportional set size: memory that processes share counts once.
    """

    def __init__(self) -> None:
        self.peak, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "BrowserMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    if "chrom" in process.name():
                        total += process.memory_full_info().pss
                except psutil.Error:  # it has exited
                    continue
            self.peak = max(self.peak, total / 2**20)


@contextmanager
def site():  # type: ignore[no-untyped-def]
    """Serve the site from a separate process, and yield its URL."""
    process = subprocess.Popen([sys.executable, "-c", SITE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def pages_per_second(base: str) -> tuple[float, int, float]:
    """Crawl many pages and store no photo, which is an error. Return pages/s, pages, and the browser's MiB."""
    times: list[float] = []

    def progress(result: CrawlResult) -> None:
        if len(times) < result.pages:
            times.append(time.perf_counter())
            if times[-1] - times[0] > MAX_CRAWL_SECONDS:
                raise TimeLimitError("The time limit is reached.")

    with tempfile.TemporaryDirectory() as folder, BrowserMemory() as memory, suppress(ScrapeError):
        scrape("sample", Path(folder), url=base, constructors=["none"], progress=progress)
    return (len(times) - 1) / (times[-1] - times[0]), len(times), memory.peak


def pages_with_photos_per_second(base: str) -> float:
    """Crawl pages and store their photos. Return pages per second after the first page."""
    times: list[float] = []

    def progress(result: CrawlResult) -> None:
        if len(times) < result.pages:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        result = scrape("sample", Path(folder), url=base, constructors=None, pages=PHOTO_PAGES, progress=progress)
    assert result.stored == PHOTO_PAGES * PER_PAGE
    return (len(times) - 1) / (times[-1] - times[0])


async def bare_playwright(base: str, folder: Path) -> float:
    """Read pages with Playwright alone, and write their images to `folder`. Return pages per second."""
    slots = asyncio.Semaphore(MAX_CONCURRENT_IMAGES)

    async def download(url: str) -> None:
        async with slots:
            response = await client.get(url)
        (folder / url.rpartition("/")[2]).write_bytes(response.content)

    async with async_playwright() as playwright, httpx.AsyncClient() as client:
        chromium = await playwright.chromium.launch(
            executable_path=browser.find_chromium(), args=list(browser.LAUNCH_ARGUMENTS), chromium_sandbox=False
        )
        page = await chromium.new_page()
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.setBlockedURLs", {"urls": ["*.jpg", "*.png", "*.webp"]})
        await page.goto(f"{base}/photos/latest")
        await page.click("[data-consent=accept]")
        start = time.perf_counter()
        for number in range(1, PHOTO_PAGES + 1):
            await page.goto(f"{base}/photos/latest?page={number}")
            await page.wait_for_selector("main[aria-busy=false]")
            photos = parse(await page.content(), page.url).photos
            assert len(photos) == PER_PAGE
            await asyncio.gather(*(download(photo["image_url"]) for photo in photos))
        seconds = time.perf_counter() - start
        await chromium.close()
    return PHOTO_PAGES / seconds


def plain_httpx(base: str) -> float:
    """Fetch the JSON of the pages. Return pages per second."""
    with httpx.Client(base_url=base) as client:
        start = time.perf_counter()
        for number in range(1, PAGES + 1):
            response = client.get("/api/photos", params={"page": number, "of": "/photos/latest"})
            assert len(response.json()["photos"]) == PER_PAGE
        return PAGES / (time.perf_counter() - start)


def seconds_after_a_kill(base: str) -> float:
    """Kill a crawl and resume it. Return the seconds from the kill to the next photo in the catalog."""

    def start_crawl() -> "subprocess.Popen[bytes]":
        run = "from planespotter_scraping.cli import app; app()"
        command = [sys.executable, "-c", run, "scrape", "--out", folder, "--url", base]
        null = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True)

    def wait_for(size: int) -> int:
        while process.poll() is None and (not table.exists() or table.stat().st_size <= size):
            time.sleep(0.005)
        return table.stat().st_size

    def kill() -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        table = Path(folder) / "catalog.csv"
        process = start_crawl()
        wait_for(30_000)
        kill()
        size, start = table.stat().st_size, time.perf_counter()
        process = start_crawl()
        wait_for(size)
        seconds = time.perf_counter() - start
        kill()
    return seconds


def report(metrics: dict[str, float]) -> Table:
    """Return the measurements as a table."""
    crawl, bare = metrics["pages/s"], metrics["pages/s, Playwright alone"]
    table = Table("measurement", "value", "ratio")
    table.add_row(f"pages per second, with {PER_PAGE} photos each stored", f"{crawl:.2f}", "1")
    table.add_row("Playwright alone, one tab", f"{bare:.2f}", f"{bare / crawl:.2f}")
    table.add_row("photos per second", f"{PER_PAGE * crawl:.0f}", "")
    table.add_row("pages per second, without photos", f"{metrics['pages/s, no photos']:.1f}", "")
    table.add_row("httpx, JSON only", f"{metrics['pages/s, httpx']:.0f}", "")
    table.add_row(f"browser memory over {metrics['pages']:.0f} pages, MiB", f"{metrics['browser MiB']:.0f}", "")
    table.add_row("from a kill to the next photo, s", f"{metrics['s after a kill']:.1f}", "")
    return table


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="Measure the crawl, compared with Playwright alone and plain HTTP.")
    parser.add_argument("--out", type=Path, default=Path("build/bench_scraping.json"), help="JSON file to write")
    arguments = parser.parse_args()
    browser.ensure_chromium()
    with site() as base, tempfile.TemporaryDirectory() as folder:
        # In turn, and the better of two rounds each: other load comes and goes.
        rounds = [
            (pages_with_photos_per_second(base), asyncio.run(bare_playwright(base, Path(folder))))
            for _ in range(ROUNDS)
        ]
        crawls, bares = zip(*rounds, strict=True)
        metrics = {"pages/s": max(crawls), "pages/s, Playwright alone": max(bares)}
        listed, pages, memory = pages_per_second(base)
        metrics |= {
            "pages/s, no photos": listed,
            "pages/s, httpx": plain_httpx(base),
            "pages": float(pages),
            "browser MiB": memory,
            "s after a kill": seconds_after_a_kill(base),
        }
    Console().print(report(metrics))
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, **metrics}, indent=2) + "\n")


if __name__ == "__main__":
    main()
