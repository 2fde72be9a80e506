"""Page snapshot: what is saved, and what is redacted."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import async_playwright

from planespotter_scraping.crawling import browser, page_snapshot
from planespotter_scraping.crawling.page_snapshot import redact
from planespotter_scraping.sample_site.server import SampleSite, serve
from planespotter_scraping.sites import html_tree, sample


@pytest.mark.parametrize(
    "text",
    [
        '<meta name="csrf-token" content="KEY">',
        "<input type='hidden' name='x' value='KEY'>",
        '<input type=password value="KEY">',
        '<script>window.authToken = "KEY";</script>',
        "<script>let x = {'sessionId': 'KEY'}</script>",
        '<a href="/photo/1?page=2&access_token=KEY&from=list">',
        '<div data-session="KEY">',
        '<link nonce="KEY">',
        "the cookie KEY-of-the-visitor again",
    ],
)
def test_secrets_are_redacted(text: str) -> None:
    assert "KEY" not in redact(text, ["KEY-of-the-visitor"])
    assert page_snapshot.REDACTED in redact(text, ["KEY-of-the-visitor"])


def test_content_of_cards_is_preserved() -> None:
    card = (
        '<article id="7" data-photo-url="/photo/7/ei-abc-druk-boeing-737-8as?page=2"><p class="author">© Tokeni W.</p>'
        '<img srcset="/7_280.jpg 2x"><a href="/airline/Druk">Druk</a></article>'
    )
    assert redact(card, ["short", ""]) == card


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_can_be_redacted(text: str, secrets: list[str]) -> None:
    redacted = redact(text, secrets)
    assert all(secret not in redacted for secret in secrets if len(secret) >= 20)


def test_element_is_formatted_as_readable_html() -> None:
    (node,) = html_tree.parse('<p class="a &amp; b">Hi <b>you</b><img src=x></p>').css("p")
    assert html_tree.to_html(node) == '<p class="a &amp; b">\n Hi\n <b>you</b>\n <img src="x">\n</p>'
    assert len(html_tree.to_html(html_tree.parse("<i>x</i>" * 1000), 100)) < 110


@pytest.mark.slow
@pytest.mark.browser
async def test_snapshot_has_a_screenshot_and_no_cookies(tmp_path: Path) -> None:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=browser.ensure_chromium(), args=list(browser.LAUNCH_ARGUMENTS), chromium_sandbox=False
        )
        page = await chromium.new_page(user_agent="planespotter/test")
        with serve(SampleSite(photos=4)) as base:
            await page.goto(f"{base}/photos/latest")
            await page.locator("[data-consent=accept]").click()
            await page.locator(sample.SITE.ready_selector).wait_for()
            await page.evaluate(
                "document.cookie = 'who=very-secret-visitor'; localStorage.setItem('k', 'very-secret-key');"
                "document.querySelector('header').append('very-secret-visitor, very-secret-key')"
            )
            data = {"values": ["very-secret-visitor", 4]}
            snapshots = [
                await page_snapshot.save(
                    page, tmp_path, "It is a test.", what="No cards!", status=200, data=data, lines=["a"]
                )
                for _ in range(2)
            ]
            await page.close()
            of_closed_page = await page_snapshot.save(page, tmp_path, "The page is closed.")
        await chromium.close()
    snapshot, second = snapshots
    assert second.name.startswith(snapshot.name[:10])
    assert snapshot.parent == tmp_path / "snapshots"
    assert snapshot.name.endswith("-no-cards")
    assert (snapshot / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    content = "".join((snapshot / name).read_text() for name in ("page.html", "report.json", "report.txt"))
    assert "very-secret" not in content
    html = (snapshot / "page.html").read_text()
    assert len(sample.parse(html, base).photos) == 4
    report = json.loads((snapshot / "report.json").read_text())
    assert (report["reason"], report["status"], report["user_agent"]) == ("It is a test.", 200, "planespotter/test")
    assert report["title"] == "Apron: latest photos"
    assert report["values"] == [page_snapshot.REDACTED, 4]
    assert (snapshot / "report.txt").read_text().startswith("It is a test.\n\nTime: ")
    assert (of_closed_page / "report.txt").exists()
