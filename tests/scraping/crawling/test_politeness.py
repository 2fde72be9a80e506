"""Politeness: robots.txt, Retry-After, blocks and logins."""

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
from planespotter_scraping.crawling import ai_opt_out, browser_crawl
from planespotter_scraping.crawling.backoff import Backoff, parse_retry_after, should_back_off
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import read_storage_state
from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.server import Reply, SampleSite, serve

LATEST = "/photos/latest"
CARDS = "/api/photos?page=1&of=%2Fphotos%2Flatest"  # data of the first page


class Script:
    """Replace the sample site's responses, by path and in order, and record the path and time of each request."""

    def __init__(self, **replies: list[Reply]) -> None:
        self.replies = replies
        self.requests: list[tuple[str, float]] = []

    def __call__(self, path: str, headers: Message) -> Reply | None:
        self.requests.append((path, time.time()))
        return self.replies[path].pop(0) if self.replies.get(path) else None

    @property
    def pages(self) -> list[str]:
        """Paths of the requests for pages, without those for parts of a page."""
        subresources = ("/static/", "/api/", "/images/", "/.well-known/")
        return [path for path, _ in self.requests if not path.startswith(subresources)]

    def times(self, path: str) -> list[float]:
        return [when for requested, when in self.requests if requested == path]


@contextmanager
def sample(script: Script, photos: int = 8, per_page: int = 4) -> Iterator[str]:
    with serve(SampleSite(photos=photos, per_page=per_page, intercept=script)) as base:
        yield base


def robots(text: str = "", status: int = 200) -> list[Reply]:
    return [Reply(text.encode(), "text/plain", status)]


# Access checks


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<title>No</title>", status=403), "responded with 403: access denied.* Ask the site's operators"),
        (
            Reply(b"<title>Just a moment...</title>", status=503),
            "shows a CAPTCHA or browser challenge instead of",
        ),
        (
            Reply(b'<iframe src="https://challenges.cloudflare.com/x"></iframe>', headers={"Retry-After": "1"}),
            "a CAPTCHA or browser challenge",
        ),
        (
            Reply(status=302, headers={"Location": "/login?to=photos"}),
            "is a login page.*log in with `playwright open",
        ),
        (Reply(b"<form><input type=password></form>"), "shows a login form instead of photos"),
        (
            Reply(status=302, headers={"Location": "/login/konto/oauth/authorize"}),
            "is a login page|shows a login form",
        ),
        (Reply(b"<main aria-busy=false><form><input type=password></form></main>"), "shows a login form instead of"),
        (Reply(b"<main aria-busy=false><p>Bitte melde dich an, um Fotos zu sehen.</p></main>"), "asks for a login"),
        (Reply(b"<main aria-busy=false><div class='h-captcha' data-sitekey=1></div></main>"), "shows a CAPTCHA or"),
        (Reply(b"<main aria-busy=false><p>Please verify that you are human.</p></main>"), "shows a CAPTCHA or"),
        (
            Reply(b"<main aria-busy=false></main>", status=202, headers={"x-amzn-waf-action": "challenge"}),
            r"browser challenge instead of photos \('x-amzn-waf-action'\)",
        ),
        (Reply(b"<iframe src='https://geo.captcha-delivery.com/c'></iframe>", status=403), "shows a CAPTCHA or"),
    ],
)
def test_access_denied_stops_after_one_request_and_saves_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
) -> None:
    monkeypatch.setattr(browser_crawl, "READY_TIMEOUT_SECONDS", 0.5)
    login = {path: [Reply(b"<input type=password>")] for path in ("/login?to=photos", "/login/konto/oauth/authorize")}
    script = Script(**{LATEST: [reply], **login})
    with sample(script) as base, pytest.raises(CrawlAbortedError, match=words) as stopped:
        scrape("sample", tmp_path, url=base)
    assert [path for path in script.pages if not path.startswith("/login")] == ["/robots.txt", LATEST]
    (snapshot,) = (tmp_path / "snapshots").iterdir()
    assert {file.name for file in snapshot.iterdir()} >= {"screenshot.png", "page.html", "report.txt"}
    assert str(snapshot) in str(stopped.value)


@pytest.mark.slow
@pytest.mark.browser
def test_denied_page_data_is_not_reported_as_drift(tmp_path: Path) -> None:
    words = r"photos/latest shows no photos: .*/api/photos.* responded with 403: access denied"
    with sample(Script(**{CARDS: [Reply(b"{}", status=403)]})) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base)
    assert len(list((tmp_path / "snapshots").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.browser
def test_page_without_its_data_is_retried_and_then_named(tmp_path: Path) -> None:
    script = Script(**{CARDS: [Reply(b"{}", status=500)] * 2})
    words = r"latest could not be read: its photos did not appear: .*/api/photos.* responded with 500\. 0 photos stored"
    with sample(script) as base, pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path, url=base)
    assert len(script.times(LATEST)) == 2


@pytest.mark.slow
@pytest.mark.browser
def test_denied_images_stop_the_crawl(tmp_path: Path) -> None:
    forbidden = Reply(b"Forbidden", status=403)
    site = SampleSite(photos=48, intercept=lambda path, _: forbidden if path.startswith("/images/") else None)
    with serve(site) as base, pytest.raises(CrawlAbortedError, match=r"denies access to its images: 8 in a row"):
        scrape("sample", tmp_path, url=base)


# Backoff


@pytest.mark.slow
@pytest.mark.browser
def test_retry_after_is_honoured_for_pages_data_and_images(tmp_path: Path) -> None:
    first = SampleSite(photos=8, per_page=4).collection[0].photo_id
    image = f"/images/{first}.jpg"
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=6), usegmt=True)
    script = Script(
        **{
            LATEST: [Reply(b"Slow down", status=429, headers={"Retry-After": "1"})],
            CARDS: [Reply(b"{}", status=429, headers={"Retry-After": "1"})],
            image: [Reply(status=503, headers={"Retry-After": later})],
        }
    )
    notices: set[str] = set()
    with sample(script) as base:
        result = scrape(
            "sample", tmp_path, url=base, constructors=None, progress=lambda now: notices.add(now.wait_notice)
        )
    assert (result.pages, result.stored, result.bad_images) == (2, 8, {})
    first_try, second_try, third_try = script.times(LATEST)
    assert second_try - first_try >= 1
    assert third_try - script.times(CARDS)[0] >= 1
    _, retried = script.times(image)
    assert retried >= datetime.strptime(later, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()
    assert any(text.startswith("the site asks to wait") for text in notices)


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
def test_retry_after_is_parsed_as_seconds_or_as_a_date(header: str | None, expected: float | None) -> None:
    assert parse_retry_after(header, datetime(2026, 10, 21, 7, 27, tzinfo=UTC)) == expected


def test_503_without_retry_after_is_an_ordinary_server_error() -> None:
    assert should_back_off(429, None)
    assert should_back_off(503, "1")
    assert not should_back_off(503, None)
    assert not should_back_off(500, "1")


def test_wait_of_hours_aborts_the_crawl() -> None:
    with pytest.raises(CrawlAbortedError, match="429, and the site asks to wait 2 hours; the limit is 10 minutes"):
        Backoff().postpone("http://photos.test/", 429, "7200")


def test_backoff_without_retry_after_is_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff = Backoff()
    until = []
    for _ in range(3):
        backoff.postpone("http://photos.test/", 429, None)
        until.append(backoff.until - now)
        backoff.postpone("http://photos.test/", 429, "1")  # another request in flight: the scheduled wait covers it
        now = backoff.until
    assert until == [5, 10, 20]
    backoff.reset()
    backoff.postpone("http://photos.test/", 429, None)
    assert backoff.until - now == 5
    for _ in range(5):
        now = backoff.until
        backoff.postpone("http://photos.test/", 429, None)
    now = backoff.until
    with pytest.raises(CrawlAbortedError):
        backoff.postpone("http://photos.test/", 429, None)


# robots.txt


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (robots(status=403), "robots.txt responded with 403, so what the site allows is unknown"),
        (robots(status=429), "robots.txt responded with 429"),
        (robots(status=500), "robots.txt responded with 500"),
        ([Reply(status=0)], r"robots.txt did not respond \(RemoteProtocolError\)"),
        (
            robots("User-agent: *\nDisallow: /photos # keep out\n"),
            r"disallows it \(Disallow: /photos\)",
        ),
        (robots("User-agent: *\nAllow: /\n\nUser-agent: planespotter\nDisallow: /"), r"\(Disallow: /\)"),
        (robots("User-agent: *\nDisallow: /p*\nDisallow: /photos/l*t$"), r"\(Disallow: /photos/l\*t\$\)"),
    ],
)
def test_disallowed_or_unavailable_robots_txt_opens_no_page(tmp_path: Path, reply: list[Reply], words: str) -> None:
    script = Script(**{"/robots.txt": reply})
    with sample(script) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base)
    assert script.pages == ["/robots.txt"]


def test_unreachable_site_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        CrawlAbortedError, match=r"http://127.0.0.1:9/robots.txt did not respond \(ConnectError\).*Check the URL"
    ):
        scrape("sample", tmp_path / "new" / "photos", url="http://127.0.0.1:9")
    assert not (tmp_path / "new").exists(), "nothing was stored"


@pytest.mark.slow
@pytest.mark.browser
def test_disallowed_pages_and_images_are_skipped_and_crawl_delay_is_kept(tmp_path: Path) -> None:
    site = SampleSite(photos=12, per_page=4)
    disallowed = f"/images/{site.collection[1].photo_id}.jpg"
    rules = f"User-agent: *\nCrawl-delay: 1.5\nDisallow: {disallowed}\nDisallow: /*page=3\n"
    script = Script(**{"/robots.txt": robots(rules)})
    words = r"page=3 was not opened.*\(Disallow: /\*page=3"
    with sample(script, photos=12) as base, pytest.raises(CrawlAbortedError, match=words):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert script.pages == ["/robots.txt", LATEST, LATEST + "?page=2"]
    assert not script.times(disallowed)
    assert len(catalog.read(tmp_path)) == 7
    (first,), (second,) = script.times(LATEST), script.times(LATEST + "?page=2")
    assert second - first > 1.49


async def test_missing_robots_txt_means_no_rules() -> None:
    with sample(Script(**{"/robots.txt": robots(status=404)})) as base:
        async with httpx.AsyncClient() as client:
            robots_cache = Robots(client)
            await robots_cache.check_page(base + LATEST)
            assert (await robots_cache.rules(base)).crawl_delay == 0
            assert await robots_cache.image_disallowed(base + "/images/1.jpg") == ""


async def test_image_host_may_deny_its_robots_txt_but_must_respond() -> None:
    script = Script(**{"/robots.txt": robots(status=403)})
    with sample(script) as base:
        async with httpx.AsyncClient() as client:
            robots_cache = Robots(client)
            assert await robots_cache.image_disallowed(base + "/images/1.jpg") == ""
            assert "did not respond" in await robots_cache.image_disallowed("http://127.0.0.1:9/1.jpg")
            assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("text", "delay"), [("Crawl-delay: 7", 7), ("Request-rate: 1/30", 30), ("Crawl-delay: 2\nRequest-rate: 3/9", 3)]
)
async def test_crawl_delay_is_the_larger_of_both_directives(text: str, delay: float) -> None:
    with sample(Script(**{"/robots.txt": robots(f"User-agent: *\n{text}\n")})) as base:
        async with httpx.AsyncClient() as client:
            assert (await Robots(client).rules(base)).crawl_delay == delay


@pytest.mark.slow
@pytest.mark.browser
def test_crawl_delay_of_an_hour_is_reported_before_the_crawl(tmp_path: Path) -> None:
    script = Script(**{"/robots.txt": robots("User-agent: *\nCrawl-delay: 3600\n") * 2})
    words = r"robots.txt asks for 60 minutes between two pages \(Crawl-delay\); the limit is 10 minutes. Pass --pages 1"
    with sample(script) as base:
        with pytest.raises(CrawlAbortedError, match=words):
            scrape("sample", tmp_path, url=base)
        assert script.pages == ["/robots.txt"]
        assert scrape("sample", tmp_path, url=base, constructors=None, pages=1).stored == 4, "no delay before it"


@pytest.mark.slow
@pytest.mark.browser
def test_crawl_delay_is_named_while_the_crawl_waits(tmp_path: Path) -> None:
    notices: set[str] = set()
    with sample(Script(**{"/robots.txt": robots("User-agent: *\nCrawl-delay: 8\n")})) as base:
        scrape("sample", tmp_path, url=base, constructors=None, progress=lambda now: notices.add(now.wait_notice))
    assert f"waits 8 s between pages: {base}/robots.txt asks for it" in notices


# AI opt-outs


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("path", "reply", "words"),
    [
        ("/robots.txt", robots("User-agent: *\nContent-Signal: search=yes, ai-train=no\n")[0], "to train AI"),
        ("/robots.txt", robots("User-agent: GPTBot\nDisallow: /\n")[0], r"disallows crawlers .*\(gptbot\)"),
        (
            "/.well-known/tdmrep.json",
            Reply(b'[{"location": "/photos/*", "tdm-reservation": 1}]', "application/json"),
            "tdmrep.json reserves the rights to text and data mining",
        ),
        (LATEST, Reply(b"<main></main>", headers={"X-Robots-Tag": "noai"}), "has the header X-Robots-Tag: noai"),
        (LATEST, Reply(b"<main></main>", headers={"TDM-Reservation": "1"}), "has the header TDM-Reservation: 1"),
        (LATEST, Reply(b"<meta name=robots content='noindex, noimageai'>"), 'meta element "robots" with noimageai'),
    ],
)
def test_site_that_opts_out_of_ai_training_is_not_crawled(tmp_path: Path, path: str, reply: Reply, words: str) -> None:
    with sample(Script(**{path: [reply]})) as base, pytest.raises(CrawlAbortedError, match=f"{words}.*--permission"):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert not (tmp_path / "catalog.csv").exists()


@pytest.mark.slow
@pytest.mark.browser
def test_permission_overrides_an_ai_opt_out_and_is_recorded_with_each_photo(tmp_path: Path) -> None:
    script = Script(**{"/robots.txt": robots("User-agent: CCBot\nDisallow: /\n")})
    with sample(script) as base:
        result = scrape("sample", tmp_path, url=base, constructors=None, permission="Tenzin, 3 May 2026")
    assert result.stored == 8
    assert set(catalog.read(tmp_path)["permission"]) == {"Tenzin, 3 May 2026"}
    assert any(note.startswith("Permission overrides: ") and "ccbot" in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.browser
def test_image_that_opts_out_of_ai_training_is_not_stored(tmp_path: Path) -> None:
    site = SampleSite(photos=8, per_page=8)
    image = f"/images/{site.collection[2].photo_id}.jpg"
    photo = site.collection[2]
    picture = drawing.draw(photo.airliner, photo.livery, photo.photo_id)
    reply = Reply(picture, "image/jpeg", headers={"X-Robots-Tag": "noimageai"})
    with serve(SampleSite(photos=8, intercept=lambda path, _: reply if path == image else None)) as base:
        result = scrape("sample", tmp_path, url=base, constructors=None)
    assert result.stored == 7
    assert [reason for reason in result.bad_images.values() if "X-Robots-Tag: noimageai" in reason]


@pytest.mark.parametrize(
    ("text", "opts_out"),
    [
        ("User-agent: *\nAllow: /\n", False),
        ("User-agent: *\nContent-Signal: ai-train=no\nAllow: /\n", True),
        ("User-agent: *\nContent-signal: search=yes,ai-input=no,ai-train=yes\n", False),
        ("User-agent: *\nContent-Usage: train-ai=n\n", True),
        ("User-agent: *\nContent-Usage: /private/ train-ai=n\n", False),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /photos/ train-ai=y\n", False),
        (
            "User-agent: *\nContent-Signal: ai-train=no\n\nUser-agent: planespotter\nContent-Signal: ai-train=yes\n",
            False,
        ),
        ("User-agent: otherbot\nContent-Signal: ai-train=no\n", False),
        ("User-agent: ClaudeBot\nUser-agent: CCBot\nDisallow: /photos/\n", True),
        ("User-agent: CCBot\nDisallow: /admin/\n", False),
        ("User-agent: AhrefsBot\nDisallow: /\n", False),
        ("User-agent: CCBot\nDisallow: /\n\nUser-agent: planespotter\nAllow: /\n", False),
    ],
)
def test_ai_opt_outs_of_robots_txt(text: str, opts_out: bool) -> None:
    assert bool(ai_opt_out.robots_opt_out(text, "https://photos.test/photos/latest")) == opts_out


@pytest.mark.parametrize(
    ("name", "value", "opts_out"),
    [
        ("x-robots-tag", "noindex, noai", True),
        ("x-robots-tag", "googlebot: noai", False),
        ("x-robots-tag", "googlebot: noindex, planespotter: noimageai", True),
        ("x-robots-tag", "max-image-preview: large, noai", True),
        ("tdm-reservation", "0", False),
        ("content-usage", "train-ai=n", True),
    ],
)
def test_ai_opt_outs_of_response_headers(name: str, value: str, opts_out: bool) -> None:
    assert bool(ai_opt_out.header_opt_out({name: value})) == opts_out


# Storage state


@pytest.mark.slow
@pytest.mark.browser
def test_login_cookies_are_sent_to_their_scope_only(tmp_path: Path) -> None:
    requests: list[tuple[str, str]] = []

    def require_login(path: str, headers: Message) -> Reply | None:
        requests.append((path, headers["Cookie"] or ""))
        public = path.startswith(("/static/", "/robots.txt", "/login"))
        if public or "session=s3cret" in (headers["Cookie"] or ""):
            return None
        return Reply(status=302, headers={"Location": "/login"})

    with serve(SampleSite(photos=4, intercept=require_login)) as base:
        host = urlsplit(base).hostname
        cookie = {"name": "session", "value": "s3cret", "domain": host, "path": "/", "expires": -1}
        cookie |= {"httpOnly": True, "secure": False, "sameSite": "Lax"}
        other = {**cookie, "name": "elsewhere", "domain": "photos.test"}
        secure = {**cookie, "name": "secure", "secure": True}
        state = tmp_path / "state.json"
        state.write_text(json.dumps({"cookies": [cookie, other, secure], "origins": []}))
        result = scrape("sample", tmp_path / "photos", url=base, constructors=None, storage_state=state)
    assert result.stored == 4
    assert not [path for path, cookies in requests if "elsewhere" in cookies]
    assert not [path for path, cookies in requests if path.startswith("/images/") and "secure=" in cookies]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory. Create it with `playwright open --save-storage"),
        ("session=1", "is not valid JSON"),
        ("[]", "lacks the lists 'cookies' and 'origins'"),
        (
            '{"cookies": [{"name": "a"}], "origins": []}',
            "Cookie 1 of .* lacks a name, value or domain",
        ),
    ],
)
def test_invalid_storage_state_is_rejected_before_any_request(tmp_path: Path, text: str | None, words: str) -> None:
    state = tmp_path / "state.json"
    if text is not None:
        state.write_text(text)
    with pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path / "photos", url="http://127.0.0.1:9", storage_state=state)
    with pytest.raises(ScrapeError):
        read_storage_state(state)
