"""Robustness: kills, moving lists, full disks and faulty sites never lose or duplicate a photo."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from functools import cached_property
from pathlib import Path

import psutil
import pytest

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError, count_noun
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.crawling import browser_crawl, photo_sink
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.photos import Photo, collection
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

LATEST = "/photos/latest"


def has_driver(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # the child has exited
        return any("run-driver" in child.cmdline() for child in process.children())
    return False


def command(out: Path, url: str) -> list[str]:
    run = "from planespotter_scraping.cli import app; app()"
    return [sys.executable, "-c", run, "scrape", "--constructors", "all", "--out", str(out), "--url", url]


@dataclass(frozen=True)
class GrowingSite(SampleSite):
    """A site with a new photo at the front of its list after every second request for a page."""

    requests: list[str] = field(default_factory=list)
    upcoming: int = 400

    @cached_property
    def collection(self) -> list[Photo]:
        return collection(self.upcoming + self.photos)

    @property
    def listed(self) -> list[Photo]:
        return self.collection[max(0, self.upcoming - len(self.requests) // 2) :]


@dataclass(frozen=True)
class ShrinkingSite(SampleSite):
    """A site that deletes its first photos after three requests for pages, so that the others move forward."""

    requests: list[str] = field(default_factory=list)

    @property
    def listed(self) -> list[Photo]:
        return self.collection[4:] if len(self.requests) >= 3 else self.collection


def ids(photos: list[Photo]) -> set[str]:
    return {f"sample-{photo.photo_id}" for photo in photos}


def check_catalog(out: Path) -> set[str]:
    """Check that a catalog has each photo once with a complete image, and no other files; return the photo ids."""
    frame = catalog.read(out)  # rejects duplicate ids
    catalog.check(out, frame, hashes=True)
    files = {path.relative_to(out).as_posix() for path in (out / "images").rglob("*") if path.is_file()}
    assert files == set(frame["file"])
    assert not list(out.glob(".*.part"))
    return set(frame["photo_id"])


def test_kills_lose_no_photo_while_new_photos_shift_the_pages(tmp_path: Path) -> None:
    rng = random.Random(7)
    pages: list[str] = []
    record = lambda path, _: pages.append(path) if path.startswith("/api/") else None  # noqa: E731
    site = GrowingSite(photos=180, per_page=6, requests=pages, intercept=record)
    with serve(site) as base:
        stored = 0
        for _ in range(3):
            until = stored + rng.randint(1, 50)  # photos; the exact moment varies as well
            process = subprocess.Popen(command(tmp_path, base), stdout=subprocess.DEVNULL, start_new_session=True)
            deadline = time.monotonic() + 300
            while stored < until and process.poll() is None and time.monotonic() < deadline:
                time.sleep(rng.random() / 20)
                stored = len(list((tmp_path / "images").rglob("*.jpg")))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert stored >= until
        wanted = ids(site.listed)
        last = subprocess.run(command(tmp_path, base), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert wanted <= check_catalog(tmp_path)
    assert not (tmp_path / ".crawl").exists()  # including the profiles of killed browsers
    assert f"{len(wanted)} photos stored" not in last.stdout  # it resumed instead of restarting


def test_next_page_loads_while_photos_are_stored_and_pages_are_committed_in_order(tmp_path: Path) -> None:
    next_page = threading.Event()
    overlaps: list[bool] = []
    site = SampleSite(photos=12, per_page=4)
    first_page = [str(photo.photo_id) for photo in site.collection[:4]]

    def intercept(path: str, _: Message) -> None:
        if path.startswith("/api/") and "page=2" in path:
            next_page.set()
        if Path(path).stem in first_page:
            overlaps.append(next_page.wait(60))

    with serve(replace(site, intercept=intercept)) as base:
        scrape("sample", tmp_path, url=base, constructors=None)
    assert overlaps == [True] * 4
    pages = [site.index[photo_id.removeprefix("sample-")] // 4 for photo_id in catalog.read(tmp_path)["photo_id"]]
    assert pages == [0] * 4 + [1] * 4 + [2] * 4
    assert check_catalog(tmp_path) == ids(site.collection)


def test_kill_loses_no_photo_of_the_page_that_was_being_stored(tmp_path: Path) -> None:
    killed, third_page = threading.Event(), threading.Event()
    requests: list[str] = []
    site = SampleSite(photos=24, per_page=4)
    second_page = [str(photo.photo_id) for photo in site.collection[4:8]]

    def intercept(path: str, _: Message) -> None:
        requests.append(path)
        if path.startswith("/api/") and "page=3" in path:
            third_page.set()
        if Path(path).stem in second_page:
            killed.wait(120)

    with serve(replace(site, intercept=intercept)) as base:
        process = subprocess.Popen(command(tmp_path, base), stdout=subprocess.DEVNULL, start_new_session=True)
        assert third_page.wait(120)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert check_catalog(tmp_path) == ids(site.collection[:4])
        requests.clear()
        killed.set()
        result = scrape("sample", tmp_path, url=base, constructors=None)
    assert check_catalog(tmp_path) == ids(site.collection)
    assert result.stored == 20
    images = [path for path in requests if path.startswith("/images/")]
    assert len(images) == len(set(images)) == 20
    pages = [path for path in requests if path.startswith(LATEST)]
    assert pages[:3] == [f"{LATEST}?page={number}" for number in (3, 2, 3)]  # page 3 was pending, page 2 not stored


def test_block_of_the_next_page_leaves_no_photo_of_the_page_before_behind(tmp_path: Path) -> None:
    blocked = threading.Event()
    site = SampleSite(photos=12, per_page=4)

    def intercept(path: str, _: Message) -> Reply | None:
        if path == f"{LATEST}?page=2":
            blocked.set()
            return Reply(b"Forbidden", status=403)
        if path.startswith("/images/"):
            blocked.wait(60)
        return None

    with (
        serve(replace(site, intercept=intercept)) as base,
        pytest.raises(ScrapeError, match=r"page=2 responded with 403"),
    ):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert check_catalog(tmp_path) == ids(site.collection[:4])


def test_resumed_crawl_finds_photos_that_deletions_moved_to_a_finished_page(tmp_path: Path) -> None:
    data_requests: list[str] = []
    pages: list[str] = []

    def intercept(path: str, _: Message) -> Reply | None:
        if path.startswith("/api/"):
            data_requests.append(path)
        elif path.startswith((LATEST, "/robots")):
            pages.append(path)
        return Reply(b"Forbidden", status=403) if path == f"{LATEST}?page=3" and len(data_requests) == 2 else None

    site = ShrinkingSite(photos=40, per_page=10, requests=data_requests, intercept=intercept)
    with serve(site) as base:
        with pytest.raises(ScrapeError, match=r"page=3 responded with 403"):
            scrape("sample", tmp_path, url=base, constructors=None)
        assert len(catalog.read(tmp_path)) == 20
        data_requests.append("an hour later")
        pages.clear()
        result = scrape("sample", tmp_path, url=base, constructors=None)
    assert check_catalog(tmp_path) == ids(site.collection)
    assert pages[:2] == ["/robots.txt", f"{LATEST}?page=3"]
    assert result.pages == 4  # pages 3 and 4, page 2 again, the front


def test_two_crawls_cannot_write_to_one_catalog(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path),
        pytest.raises(CatalogError, match=r"Another planespotter command is writing to the catalog"),
    ):
        scrape("sample", tmp_path, url="http://127.0.0.1:9")


def test_full_disk_ends_the_crawl_and_the_next_one_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [None] * 10  # a page takes one for each image, one for its rows and one for the history
    sync = os.fsync

    def fsync(handle: int) -> None:
        if not free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        free.pop()
        sync(handle)

    requests: list[str] = []
    site = SampleSite(photos=24, per_page=6, intercept=lambda path, _: requests.append(path))
    with serve(site) as base:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(CatalogError, match=r"cannot be stored .*No space left on device\. .*Free disk space"):
                scrape("sample", tmp_path, url=base, constructors=None)
        assert 6 < len(catalog.read(tmp_path)) <= 8
        assert f"{LATEST}?page=4" not in requests  # page 3 loads while page 2 is stored
        result = scrape("sample", tmp_path, url=base, constructors=None)
    assert check_catalog(tmp_path) == ids(site.collection)
    assert result.stored >= 16


def test_page_of_a_dead_or_hanging_site_is_named_and_the_crawl_resumes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_crawl, "MAX_RETRIES", 1)
    back, dead = threading.Event(), [True]

    def intercept(path: str, _: Message) -> Reply | None:
        if path != f"{LATEST}?page=3" or back.wait(0 if dead else 300):
            return None
        return Reply(status=0)

    site = SampleSite(photos=24, per_page=6, intercept=intercept)
    with serve(site) as base:
        with pytest.raises(ScrapeError, match=r"page=3 could not be read: the site did not respond: ERR_EMPTY"):
            scrape("sample", tmp_path, url=base, constructors=None)
        assert len(check_catalog(tmp_path)) == 12
        dead.clear()
        with monkeypatch.context() as patch:  # only that page is opened, so the short timeout applies to no other
            patch.setattr(browser_crawl, "NAVIGATION_TIMEOUT_SECONDS", 2.5)
            with pytest.raises(
                ScrapeError,
                match=r"page=3 could not be read: it did not load within 2.5 seconds.*to resume at this",
            ):
                scrape("sample", tmp_path, url=base, constructors=None)
        back.set()
        scrape("sample", tmp_path, url=base, constructors=None)
    assert check_catalog(tmp_path) == ids(site.collection)


def test_invalid_images_are_recorded_and_the_others_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sink, "IMAGE_TIMEOUT_SECONDS", 5.0)
    site = SampleSite(photos=8, broken_images=(0,), missing_images=(1,))
    image = drawing.draw(site.collection[2].airliner, 1, 1)
    never = threading.Event()
    replies = {
        2: Reply(image[: len(image) // 2], "image/jpeg"),
        3: Reply(image[:500], "image/jpeg", headers={"Content-Length": str(len(image)), "Connection": "close"}),
        4: Reply(status=0),
        5: None,
    }
    positions = {f"/images/{site.collection[position].photo_id}.jpg": position for position in replies}

    def intercept(path: str, _: Message) -> Reply | None:
        if path in positions:
            never.wait(0 if replies[positions[path]] else 300)
            return replies[positions[path]]
        return None

    with serve(replace(site, intercept=intercept)) as base:
        result = scrape("sample", tmp_path, url=base, constructors=None)
        never.set()
    reasons = [result.bad_images[f"sample-{photo.photo_id}"] for photo in site.collection[:6]]
    assert "not an image, but a web page" in reasons[0]
    assert "responded with 404" in reasons[1]
    assert "not a complete image" in reasons[2]
    assert "did not respond" in reasons[3]
    assert "did not respond" in reasons[4]
    assert "did not respond (ReadTimeout)" in reasons[5]
    assert check_catalog(tmp_path) == ids(site.collection[6:])


def test_partial_files_of_a_killed_crawl_are_removed(tmp_path: Path) -> None:
    partial_files = [
        tmp_path / name for name in ("images/sample/.sample-1.jpg.7.part", ".catalog.csv.7.part", "cropped/.1.part")
    ]
    with serve(SampleSite(photos=4)) as base:
        for path in partial_files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"partial")
        queue = tmp_path / ".crawl" / base.partition("//")[2].replace(":", "-")
        (queue / "request_queues" / "default").mkdir(parents=True)
        (queue / "request_queues" / "default" / "__metadata__.json").write_text('{"id": ')
        result = scrape("sample", tmp_path, url=base, constructors=None)
    assert result.stored == len(check_catalog(tmp_path)) == 4
    assert not any(path.exists() for path in partial_files)
    assert not (tmp_path / ".crawl").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_ctrl_c_ends_the_crawl_while_the_browser_starts(tmp_path: Path) -> None:
    with serve(SampleSite(photos=24, per_page=4)) as base:
        process = subprocess.Popen(command(tmp_path, base), stderr=subprocess.PIPE, text=True, start_new_session=True)
        parent, deadline = psutil.Process(process.pid), time.monotonic() + 120
        while not has_driver(parent) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 130
    assert stderr.splitlines() == [f"Stopped. 0 photos stored in {tmp_path}. The same command resumes the crawl."], (
        "no other output"
    )


def test_ctrl_c_reports_the_stored_photos_and_how_to_resume(tmp_path: Path) -> None:
    interrupted = threading.Event()  # the third page hangs until then

    def intercept(path: str, _: Message) -> None:
        if path == f"{LATEST}?page=3":
            interrupted.wait(300)

    with serve(SampleSite(photos=24, per_page=4, intercept=intercept)) as base:
        process = subprocess.Popen(command(tmp_path, base), stderr=subprocess.PIPE, text=True, start_new_session=True)
        deadline = time.monotonic() + 300
        while not (tmp_path / "catalog.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        interrupted.set()
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 130
        stored = len(check_catalog(tmp_path))
    assert f"Stopped. {count_noun(stored, 'photo')} stored in {tmp_path}. The same command resumes the crawl." in stderr


@pytest.mark.parametrize("waits_for", ["crawl delay", "image", "page"])
def test_ctrl_c_ends_a_wait_within_two_seconds(tmp_path: Path, waits_for: str) -> None:
    waiting, ended = threading.Event(), threading.Event()

    def intercept(path: str, _: Message) -> Reply | None:
        if waits_for == "crawl delay" and path == "/robots.txt":
            return Reply(b"User-agent: *\nCrawl-delay: 300\n", "text/plain")
        hangs = path.startswith("/images/") if waits_for == "image" else path == f"{LATEST}?page=2"
        if hangs:
            waiting.set()
            ended.wait(120)
        return None

    with serve(SampleSite(photos=8, per_page=4, intercept=intercept)) as base:
        start = time.monotonic()
        process = subprocess.Popen(command(tmp_path, base), stderr=subprocess.PIPE, text=True, start_new_session=True)
        if waits_for == "crawl delay":
            assert process.stderr is not None
            assert any("waits 5 minutes between pages" in line for line in process.stderr)
        else:
            assert waiting.wait(120)
        startup_seconds = time.monotonic() - start
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        seconds = time.monotonic() - start
        ended.set()
    assert process.returncode == 130
    assert seconds < max(2.0, startup_seconds / 2)  # of a busy machine, which takes many seconds to start
