"""What a crawl asks of a site, and what it does when the site would rather be left alone."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from planespotter_scraping import catalog
from planespotter_scraping.crawling import browser_crawl, storage_state
from planespotter_scraping.crawling.backoff import Backoff, asks_to_wait, seconds
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

LATEST = "/photos/latest"
CARDS = "/api/photos?page=1&of=%2Fphotos%2Flatest"  # where the first page gets its photos from


class Moods:
    """Gives other answers than the sample site would, by path, one after the other; notes what is asked, and when."""

    def __init__(self, **replies: list[Reply]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, float]] = []

    def __call__(self, path: str, headers: Message) -> Reply | None:
        self.asked.append((path, time.time()))
        return self.replies[path].pop(0) if self.replies.get(path) else None

    @property
    def pages(self) -> list[str]:
        """The paths that were asked, without those of which a page is made."""
        parts = ("/static/", "/api/", "/images/")
        return [path for path, _ in self.asked if not path.startswith(parts)]

    def times(self, path: str) -> list[float]:
        return [when for asked, when in self.asked if asked == path]


@contextmanager
def sample(moods: Moods, photos: int = 8, per_page: int = 4) -> Iterator[str]:
    with serve(SampleSite(photos=photos, per_page=per_page, interfere=moods)) as base:
        yield base


def robots(text: str = "", status: int = 200) -> list[Reply]:
    return [Reply(text.encode(), "text/plain", status)]


# Refusals


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<title>No</title>", status=403), "answered 403, which is a refusal.* Ask those who run the site"),
        (Reply(b"<title>Just a moment...</title>", status=503), "shows a test for browsers instead of photos"),
        (
            Reply(b'<iframe src="https://challenges.cloudflare.com/x"></iframe>', headers={"Retry-After": "1"}),
            "a test for browsers",
        ),
        (
            Reply(status=302, headers={"Location": "/login?to=photos"}),
            "asks for a login.*log in by hand with `playwright open",
        ),
        (Reply(b"<form><input type=password></form>"), "asks for a login where its photos should be"),
    ],
)
def test_a_site_that_refuses_is_asked_once_and_the_evidence_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
) -> None:
    monkeypatch.setattr(browser_crawl, "READY_SECONDS", 0.5)
    moods = Moods(**{LATEST: [reply], "/login?to=photos": [Reply(b"<input type=password>")]})
    with sample(moods) as base, pytest.raises(CrawlAbortedError, match=words) as stopped:
        scrape("sample", tmp_path, url=base)
    assert [path for path in moods.pages if not path.startswith("/login")] == ["/robots.txt", LATEST]
    (evidence,) = (tmp_path / "evidence").iterdir()
    assert {file.name for file in evidence.iterdir()} >= {"screenshot.png", "page.html", "report.txt"}
    assert str(evidence) in str(stopped.value)


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_whose_photos_are_refused_to_it_is_no_redesign(tmp_path: Path) -> None:
    words = r"photos/latest shows no photos: .*/api/photos.* answered 403, which is a refusal"
    with sample(Moods(**{CARDS: [Reply(b"{}", status=403)]})) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base)
    assert len(list((tmp_path / "evidence").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_that_does_not_get_its_photos_is_opened_again_and_then_named(tmp_path: Path) -> None:
    moods = Moods(**{CARDS: [Reply(b"{}", status=500)] * 2})
    words = r"latest could not be read: its photos did not appear: .*/api/photos.* answered 500\. 0 photos were stored"
    with sample(moods) as base, pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path, url=base)
    assert len(moods.times(LATEST)) == 2


@pytest.mark.slow
@pytest.mark.browser
def test_a_site_that_keeps_its_images_to_itself_is_not_asked_for_all_of_them(tmp_path: Path) -> None:
    no = Reply(b"No.", status=403)
    site = SampleSite(photos=48, interfere=lambda path, _: no if path.startswith("/images/") else None)
    with serve(site) as base, pytest.raises(CrawlAbortedError, match=r"refuses to hand out its images: 8 in a row"):
        scrape("sample", tmp_path, url=base)


# Waiting


@pytest.mark.slow
@pytest.mark.browser
def test_a_site_that_asks_to_wait_is_given_the_time(tmp_path: Path) -> None:
    first = SampleSite(photos=8, per_page=4).collection[0].photo_id
    image = f"/images/{first}.jpg"
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=6), usegmt=True)
    moods = Moods(
        **{
            LATEST: [Reply(b"Slowly.", status=429, headers={"Retry-After": "1"})],
            CARDS: [Reply(b"{}", status=429, headers={"Retry-After": "1"})],
            image: [Reply(status=503, headers={"Retry-After": later})],
        }
    )
    waits: set[str] = set()
    with sample(moods) as base:
        outcome = scrape(
            "sample", tmp_path, url=base, constructors=None, progress=lambda now: waits.add(now.wait_notice)
        )
    assert (outcome.pages, outcome.stored, outcome.bad_images) == (2, 8, {})
    page, again, once_more = moods.times(LATEST)
    assert again - page >= 1
    assert once_more - moods.times(CARDS)[0] >= 1
    _, answered = moods.times(image)
    assert answered >= datetime.strptime(later, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()
    assert any(text.startswith("the site asks to wait") for text in waits)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60),
        ("Wed, 21 Oct 2026 07:26:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
    ],
)
def test_retry_after_comes_as_seconds_or_as_a_date(header: str | None, expected: float | None) -> None:
    assert seconds(header, datetime(2026, 10, 21, 7, 27, tzinfo=UTC)) == expected


def test_a_503_that_does_not_say_when_to_come_back_is_a_failure_like_others() -> None:
    assert asks_to_wait(429, None)
    assert asks_to_wait(503, "1")
    assert not asks_to_wait(503, None)
    assert not asks_to_wait(500, "1")


def test_nobody_waits_for_hours() -> None:
    with pytest.raises(
        CrawlAbortedError, match=r"answered 429, and waiting for the site would take 2 hours, where .* 10 min"
    ):
        Backoff().postpone("http://photos.test/", 429, "7200")


def test_the_wait_grows_where_the_site_does_not_say_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    held = Backoff()
    until = []
    for _ in range(3):
        held.postpone("http://photos.test/", 429, None)
        until.append(held.until - now)
        held.postpone("http://photos.test/", 429, "1")  # another request that was on its way: the wait is longer
        now = held.until
    assert until == [5, 10, 20]
    held.welcome()
    held.postpone("http://photos.test/", 429, None)
    assert held.until - now == 5
    for _ in range(5):
        now = held.until
        held.postpone("http://photos.test/", 429, None)
    now = held.until
    with pytest.raises(CrawlAbortedError):
        held.postpone("http://photos.test/", 429, None)


# robots.txt


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (robots(status=403), "robots.txt answered 403, and without it nobody knows what the site allows"),
        (robots(status=429), "robots.txt answered 429"),
        (robots(status=500), "robots.txt answered 500"),
        ([Reply(status=0)], r"robots.txt did not answer \(RemoteProtocolError\)"),
        (
            robots("User-agent: *\nDisallow: /photos # keep out\n"),
            r"to stay away .*\(Disallow: /photos\)",
        ),
        (robots("User-agent: *\nAllow: /\n\nUser-agent: planespotter\nDisallow: /"), r"\(Disallow: /\)"),
        (robots("User-agent: *\nDisallow: /p*\nDisallow: /photos/l*t$"), r"\(Disallow: /photos/l\*t\$\)"),
    ],
)
def test_without_leave_in_robots_txt_no_page_is_opened(tmp_path: Path, reply: list[Reply], words: str) -> None:
    moods = Moods(**{"/robots.txt": reply})
    with sample(moods) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base)
    assert moods.pages == ["/robots.txt"]


def test_a_site_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(
        CrawlAbortedError, match=r"http://127.0.0.1:9/robots.txt did not answer \(ConnectError\).*Check the ad"
    ):
        scrape("sample", tmp_path / "new" / "photos", url="http://127.0.0.1:9")
    assert not (tmp_path / "new").exists(), "nothing was stored"


@pytest.mark.slow
@pytest.mark.browser
def test_pages_and_images_that_robots_txt_excludes_are_left_alone_and_its_pace_is_kept(tmp_path: Path) -> None:
    site = SampleSite(photos=12, per_page=4)
    closed = f"/images/{site.collection[1].photo_id}.jpg"
    rules = f"User-agent: *\nCrawl-delay: 1.5\nDisallow: {closed}\nDisallow: /*page=3\n"
    moods = Moods(**{"/robots.txt": robots(rules)})
    words = r"page=3 is not opened.*\(Disallow: /\*page=3"
    with sample(moods, photos=12) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert moods.pages == ["/robots.txt", LATEST, LATEST + "?page=2"]
    assert not moods.times(closed)
    assert len(catalog.read(tmp_path)) == 7
    (first,), (second,) = moods.times(LATEST), moods.times(LATEST + "?page=2")
    assert second - first > 1.49


async def test_a_site_without_robots_txt_has_no_rules() -> None:
    with sample(Moods(**{"/robots.txt": robots(status=404)})) as base:
        async with httpx.AsyncClient() as client:
            rules = Robots(client)
            await rules.check(base + LATEST)
            assert (await rules.rules(base)).delay == 0
            assert await rules.forbids_image(base + "/images/1.jpg") == ""


async def test_a_host_of_images_may_keep_its_robots_txt_to_itself_but_must_answer() -> None:
    moods = Moods(**{"/robots.txt": robots(status=403)})
    with sample(moods) as base:
        async with httpx.AsyncClient() as client:
            rules = Robots(client)
            assert await rules.forbids_image(base + "/images/1.jpg") == ""
            assert "did not answer" in await rules.forbids_image("http://127.0.0.1:9/1.jpg")
            assert len(moods.asked) == 1


@pytest.mark.parametrize(
    ("text", "delay"), [("Crawl-delay: 7", 7), ("Request-rate: 1/30", 30), ("Crawl-delay: 2\nRequest-rate: 3/9", 3)]
)
async def test_the_pace_of_robots_txt_is_the_slower_one(text: str, delay: float) -> None:
    with sample(Moods(**{"/robots.txt": robots(f"User-agent: *\n{text}\n")})) as base:
        async with httpx.AsyncClient() as client:
            assert (await Robots(client).rules(base)).delay == delay


# A login that the user has made


@pytest.mark.slow
@pytest.mark.browser
def test_a_login_goes_with_pages_and_images_and_nowhere_else(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def guard(path: str, headers: Message) -> Reply | None:
        asked.append((path, headers["Cookie"] or ""))
        open_to_all = path.startswith(("/static/", "/robots.txt", "/login"))
        if open_to_all or "session=s3cret" in (headers["Cookie"] or ""):
            return None
        return Reply(status=302, headers={"Location": "/login"})

    with serve(SampleSite(photos=4, interfere=guard)) as base:
        host = urlsplit(base).hostname
        cookie = {"name": "session", "value": "s3cret", "domain": host, "path": "/", "expires": -1}
        cookie |= {"httpOnly": True, "secure": False, "sameSite": "Lax"}
        other = {**cookie, "name": "elsewhere", "domain": "photos.test"}
        safe = {**cookie, "name": "safe", "secure": True}
        state = tmp_path / "state.json"
        state.write_text(json.dumps({"cookies": [cookie, other, safe], "origins": []}))
        outcome = scrape("sample", tmp_path / "photos", url=base, constructors=None, storage_state=state)
    assert outcome.stored == 4
    assert not [path for path, cookies in asked if "elsewhere" in cookies]
    assert not [path for path, cookies in asked if path.startswith("/images/") and "safe=" in cookies]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory. Make one with `playwright open --save-storage"),
        ("session=1", "is not JSON"),
        ("[]", "is JSON, but no storage state, which has the lists 'cookies' and 'origins'"),
        ('{"cookies": [{"name": "a"}], "origins": []}', "Cookie 1 of .* has no name, value or domain"),
    ],
)
def test_a_file_that_is_no_login_is_refused_before_anything_is_asked(
    tmp_path: Path, text: str | None, words: str
) -> None:
    state = tmp_path / "state.json"
    if text is not None:
        state.write_text(text)
    with pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path / "photos", url="http://127.0.0.1:9", storage_state=state)
    with pytest.raises(ScrapeError):
        storage_state.read(state)
