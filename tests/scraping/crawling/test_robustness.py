"""What may go wrong in a crawl, and that nothing is lost by it."""

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
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.crawling import browser_crawl, photo_sink
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.photos import Photo, collection
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

LATEST = "/photos/latest"


def has_driver(us: psutil.Process) -> bool:
    with suppress(psutil.Error):  # a child that has just ended
        return any("run-driver" in child.cmdline() for child in us.children())
    return False


def command(out: Path, url: str) -> list[str]:
    run = "from planespotter_scraping.cli import app; app()"
    return [sys.executable, "-c", run, "scrape", "--constructors", "all", "--out", str(out), "--url", url]


@dataclass(frozen=True)
class GrowingSite(SampleSite):
    """New photos come to the front of its list while it is read, one for two pages, and push the others back."""

    asked: list[str] = field(default_factory=list)
    to_come: int = 400

    @cached_property
    def collection(self) -> list[Photo]:
        return collection(self.to_come + self.photos)

    @property
    def shown(self) -> list[Photo]:
        return self.collection[max(0, self.to_come - len(self.asked) // 2) :]


@dataclass(frozen=True)
class ShrinkingSite(SampleSite):
    """Photos of its first pages are deleted once it has been asked for three pages: the others move forward."""

    asked: list[str] = field(default_factory=list)

    @property
    def shown(self) -> list[Photo]:
        return self.collection[4:] if len(self.asked) >= 3 else self.collection


def ids(photos: list[Photo]) -> set[str]:
    return {f"sample-{photo.photo_id}" for photo in photos}


def sound(out: Path) -> set[str]:
    """Return the ids in a catalog, once it is seen to have each photo once, with its whole image and nothing beside."""
    frame = catalog.read(out)  # refuses ids that stand in it twice
    catalog.check(out, frame, hashes=True)
    files = {path.relative_to(out).as_posix() for path in (out / "images").rglob("*") if path.is_file()}
    assert files == set(frame["file"])
    assert not list(out.glob(".*.part"))
    return set(frame["photo_id"])


def test_kills_lose_nothing_while_new_photos_push_old_ones_over_the_edges_of_pages(tmp_path: Path) -> None:
    chance = random.Random(7)
    lists: list[str] = []
    note = lambda path, _: lists.append(path) if path.startswith("/api/") else None  # noqa: E731
    site = GrowingSite(photos=180, per_page=6, asked=lists, interfere=note)
    with serve(site) as base:
        there = 0
        for _ in range(3):
            until = there + chance.randint(1, 50)  # photos; the moment after that is a matter of chance too
            process = subprocess.Popen(command(tmp_path, base), stdout=subprocess.DEVNULL, start_new_session=True)
            deadline = time.monotonic() + 300
            while there < until and process.poll() is None and time.monotonic() < deadline:
                time.sleep(chance.random() / 20)
                there = len(list((tmp_path / "images").rglob("*.jpg")))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert there >= until
        wanted = ids(site.shown)
        last = subprocess.run(command(tmp_path, base), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert wanted <= sound(tmp_path)
    assert not (tmp_path / ".crawl").exists()  # nor the profiles of the browsers that were killed
    assert f"{len(wanted)} photos stored" not in last.stdout  # it went on, and did not begin anew


def test_photos_that_deletions_move_to_a_page_that_was_done_are_found_when_the_crawl_goes_on(tmp_path: Path) -> None:
    lists: list[str] = []
    pages: list[str] = []

    def interfere(path: str, _: Message) -> Reply | None:
        if path.startswith("/api/"):
            lists.append(path)
        elif path.startswith((LATEST, "/robots")):
            pages.append(path)
        return Reply(b"No.", status=403) if path == f"{LATEST}?page=3" and len(lists) == 2 else None

    site = ShrinkingSite(photos=40, per_page=10, asked=lists, interfere=interfere)
    with serve(site) as base:
        with pytest.raises(ScrapeError, match=r"page=3 answered 403"):
            scrape("sample", tmp_path, url=base, constructors=None)
        assert len(catalog.read(tmp_path)) == 20
        lists.append("an hour later")
        pages.clear()
        outcome = scrape("sample", tmp_path, url=base, constructors=None)
    assert sound(tmp_path) == ids(site.collection)
    assert pages[:2] == ["/robots.txt", f"{LATEST}?page=3"]
    assert outcome.pages == 4  # pages 3 and 4, page 2 again, and the front


def test_two_crawls_do_not_write_into_one_catalog(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path),
        pytest.raises(CatalogError, match=r"Another planespotter command is writing to the catalog"),
    ):
        scrape("sample", tmp_path, url="http://127.0.0.1:9")


def test_a_full_disk_ends_the_crawl_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = [None] * 15
    sync = os.fsync

    def fsync(handle: int) -> None:
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room.pop()
        sync(handle)

    asked: list[str] = []
    site = SampleSite(photos=24, per_page=6, interfere=lambda path, _: asked.append(path))
    with serve(site) as base:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(CatalogError, match=r"cannot be stored in .*No space left on device. .* make room"):
                scrape("sample", tmp_path, url=base, constructors=None)
        assert 6 < len(catalog.read(tmp_path)) <= 8
        assert f"{LATEST}?page=3" not in asked
        outcome = scrape("sample", tmp_path, url=base, constructors=None)
    assert sound(tmp_path) == ids(site.collection)
    assert outcome.stored >= 16


def test_a_site_that_dies_or_hangs_halfway_is_named_and_the_crawl_goes_on_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_crawl, "RETRIES", 1)
    back, dead = threading.Event(), [True]

    def interfere(path: str, _: Message) -> Reply | None:
        if path != f"{LATEST}?page=3" or back.wait(0 if dead else 300):
            return None
        return Reply(status=0)

    site = SampleSite(photos=24, per_page=6, interfere=interfere)
    with serve(site) as base:
        with pytest.raises(ScrapeError, match=r"page=3 could not be read: the site did not answer: ERR_EMPTY_RESPONSE"):
            scrape("sample", tmp_path, url=base, constructors=None)
        assert len(sound(tmp_path)) == 12
        dead.clear()
        with monkeypatch.context() as patch:  # this crawl begins with that page, so no other has to load so soon
            patch.setattr(browser_crawl, "NAVIGATION_SECONDS", 2.5)
            with pytest.raises(
                ScrapeError, match=r"page=3 could not be read: it did not load within 2.5 seconds.*go on from"
            ):
                scrape("sample", tmp_path, url=base, constructors=None)
        back.set()
        scrape("sample", tmp_path, url=base, constructors=None)
    assert sound(tmp_path) == ids(site.collection)


def test_images_that_are_none_are_noted_and_the_others_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_sink, "IMAGE_SECONDS", 5.0)
    site = SampleSite(photos=8, broken_images=(0,), missing_images=(1,))
    image = drawing.draw(site.collection[2].airliner, 1, 1)
    never = threading.Event()
    odd = {
        2: Reply(image[: len(image) // 2], "image/jpeg"),
        3: Reply(image[:500], "image/jpeg", headers={"Content-Length": str(len(image)), "Connection": "close"}),
        4: Reply(status=0),
        5: None,
    }
    places = {f"/images/{site.collection[place].photo_id}.jpg": place for place in odd}

    def interfere(path: str, _: Message) -> Reply | None:
        if path in places:
            never.wait(0 if odd[places[path]] else 300)
            return odd[places[path]]
        return None

    with serve(replace(site, interfere=interfere)) as base:
        outcome = scrape("sample", tmp_path, url=base, constructors=None)
        never.set()
    why = {place: outcome.bad_images[f"sample-{site.collection[place].photo_id}"] for place in range(6)}
    assert "not an image, but a web page" in why[0]
    assert "answered 404" in why[1]
    assert "not a complete image" in why[2]
    assert "did not answer" in why[3]
    assert "did not answer" in why[4]
    assert "did not answer (ReadTimeout)" in why[5]
    assert sound(tmp_path) == ids(site.collection[6:])


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    halves = [
        tmp_path / name for name in ("images/sample/.sample-1.jpg.7.part", ".catalog.csv.7.part", "cropped/.1.part")
    ]
    with serve(SampleSite(photos=4)) as base:
        for half in halves:
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(b"half")
        queue = tmp_path / ".crawl" / base.partition("//")[2].replace(":", "-")
        (queue / "request_queues" / "default").mkdir(parents=True)
        (queue / "request_queues" / "default" / "__metadata__.json").write_text('{"id": ')
        outcome = scrape("sample", tmp_path, url=base, constructors=None)
    assert outcome.stored == len(sound(tmp_path)) == 4
    assert not any(half.exists() for half in halves)
    assert not (tmp_path / ".crawl").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_ctrl_c_at_a_terminal_while_the_browser_starts_ends_the_crawl(tmp_path: Path) -> None:
    with serve(SampleSite(photos=24, per_page=4)) as base:
        process = subprocess.Popen(command(tmp_path, base), stderr=subprocess.PIPE, text=True, start_new_session=True)
        us, deadline = psutil.Process(process.pid), time.monotonic() + 120
        while not has_driver(us) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130
    assert said.splitlines() == [
        f"Stopped: 0 photos were stored in {tmp_path}. The same command goes on from there."
    ], "nothing else"


def test_ctrl_c_says_what_is_stored_and_that_the_crawl_can_go_on(tmp_path: Path) -> None:
    told = threading.Event()  # until then, the third page does not come

    def interfere(path: str, _: Message) -> None:
        if path == f"{LATEST}?page=3":
            told.wait(300)

    with serve(SampleSite(photos=24, per_page=4, interfere=interfere)) as base:
        process = subprocess.Popen(command(tmp_path, base), stderr=subprocess.PIPE, text=True, start_new_session=True)
        deadline = time.monotonic() + 300
        while not (tmp_path / "catalog.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told.set()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130
        stored = len(sound(tmp_path))
    assert f"Stopped: {stored} photos were stored in {tmp_path}. The same command goes on from there." in said
