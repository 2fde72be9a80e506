"""The review page in a real Chromium: decisions by keyboard, several reviewers, kills, themes and widths."""

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.client.processes import Process, ready_command

from planespotter_scraping import catalog

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WAIT = 60_000
LOW_CONTRAST = (Path(__file__).parents[2] / "low_contrast.js").read_text(encoding="utf-8")
NAMES = ("737-800", "A320neo", "747", "A320-200", "A380", "737 MAX 8")
FAMILY = {"737-800": "737", "737 MAX 8": "737", "A320neo": "A320", "A320-200": "A320", "747": "747", "A380": "A380"}


@pytest.fixture
def answers(tmp_path: Path, paint: Callable[..., bytes]) -> Path:
    """Predictions of six photos, each that of a 737-800, the least confident first."""
    columns = ["file", "level", "probability", "constructor", "family", "model"]
    guesses = [f"best_guess_{level}" for level in columns[3:]]
    with (tmp_path / "answers.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*columns, *guesses, "best_guess_model_probability", "candidates"])
        for number, name in enumerate(NAMES):
            (tmp_path / f"{name}.jpg").write_bytes(paint(name))
            probability = 0.3 + number / 10
            path = ["Boeing", "737", "737-800"]
            candidates = f"Boeing 737-800 {probability:.2f}; Airbus A320neo 0.05"
            row = [tmp_path / f"{name}.jpg", "constructor", 0.95, "Boeing", "", "", *path, probability, candidates]
            writer.writerow(row)
    return tmp_path / "answers.csv"


def review(answers: Path, *options: object, port: int = 0) -> AbstractContextManager[tuple[str, Process]]:
    out = answers.parent / "reviewed"
    arguments = ("--out", out, "--port", port, "--random-share", 0, "--reviewer", "Ann", *options)
    return ready_command(r"Review photos on (http://\S+/)\n", "review", answers, *arguments)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page in a separate context. At the end it has logged nothing."""
    problems: list[str] = []
    contexts = []

    def open_page(url: str, **options: Any) -> Page:
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(WAIT)
        tab.on("console", lambda message: None if "Failed to load" in message.text else problems.append(message.text))
        tab.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(url)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def expect_photo(tab: Page, name: str) -> None:
    """Wait until a photo is on the page, and decoded."""
    expect(tab.locator("#file")).to_have_text(f"{name}.jpg", timeout=WAIT)
    expect(tab.locator("#stage")).to_have_class("", timeout=WAIT)


def decisions(answers: Path) -> dict[str, dict[str, Any]]:
    lines = (answers.parent / "reviewed" / "review.jsonl").read_text().splitlines()
    return {Path(line["photo"]).stem: line for line in map(json.loads, lines)}


def press(tab: Any, key: str) -> None:
    """Press a key once the page takes it: it ignores keys while a decision is on its way."""
    expect(tab.locator("body")).to_have_attribute("aria-busy", "false")
    tab.keyboard.press(key)


def test_photos_are_reviewed_by_keyboard_and_end_in_a_catalog(open_page: Any, answers: Path) -> None:
    with review(answers) as (url, process):
        tab = open_page(url)
        expect_photo(tab, "737-800")
        expect(tab.locator("#name")).to_have_text("Boeing 737-800")
        expect(tab.locator("#kind")).to_have_text("The network predicts (30 %)")
        assert tab.locator("#path .guess").all_inner_texts() == ["737", "737-800"]
        press(tab, "a")
        expect_photo(tab, "A320neo")
        press(tab, "2")  # the second candidate
        expect_photo(tab, "747")
        press(tab, "c")
        tab.keyboard.type("74")
        expect(tab.locator("#matches li").first).to_contain_text("Boeing 74")
        tab.keyboard.type("7")
        expect(tab.locator("#matches [aria-selected=true]")).to_have_text("Boeing 747")
        press(tab, "Enter")
        expect_photo(tab, "A320-200")
        press(tab, "u")
        expect_photo(tab, "A380")
        press(tab, "z")
        expect_photo(tab, "A320-200")
        press(tab, "c")
        tab.keyboard.type("some plane")
        press(tab, "Enter")
        expect(tab.locator("#error-text")).to_contain_text("does not name its constructor")
        tab.locator("#correction").fill("Embraer E190")
        press(tab, "Enter")
        expect_photo(tab, "A380")
        press(tab, "n")
        expect_photo(tab, "737 MAX 8")
        expect(tab.locator("#progress-text")).to_have_text("5 of 6 photos")
        press(tab, "s")
        expect(tab.locator("#end-title")).to_have_text("All photos are reviewed")
        tab.locator("#learnt summary").click()
        expect(tab.locator("#summary")).to_contain_text("constructor 40% of 5 (12% to 77%)")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait(60) == 0
    assert "6 photos reviewed: 1 accepted, 3 corrected, 0 unknown, 1 without an aircraft, 1 skipped." in output
    assert f"{answers.parent / 'reviewed'}: 5 photos stored." in output
    assert f"planespotter train {answers.parent / 'reviewed'} --out" in output
    frame = catalog.read(answers.parent / "reviewed")
    assert sorted(zip(frame["constructor"], frame["aircraft_type"], strict=True)) == [
        ("Airbus", "A320neo"),
        ("Boeing", "737-800"),
        ("Boeing", "747"),
        ("Embraer", "E190"),
        ("No aircraft", ""),
    ]


def test_a_kill_loses_no_decision_and_the_page_continues_with_the_next_process(
    open_page: Any, answers: Path, reserved_port: int
) -> None:
    with review(answers, port=reserved_port) as (url, process):
        tab = open_page(url)
        for name in NAMES[:3]:
            expect_photo(tab, name)
            press(tab, "a")
        expect_photo(tab, "A320-200")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        assert list(decisions(answers)) == list(NAMES[:3])
        press(tab, "n")
        expect(tab.locator("#error-text")).to_contain_text("does not respond")
        with review(answers, port=reserved_port):
            expect_photo(tab, "A380")
            expect(tab.locator("#error")).to_be_hidden()
            assert decisions(answers)["A320-200"]["decision"] == "no-aircraft"
            assert decisions(answers)["A320-200"]["by"] == "Ann"


def test_two_people_review_different_photos_at_a_time(open_page: Any, answers: Path) -> None:
    with review(answers) as (url, _):
        ann, bob = open_page(url), open_page(url)
        expect(ann.locator("#photo")).to_be_visible()
        bob.locator("#reviewer").fill("Bob")
        press(bob, "Enter")
        for tab, count in ((ann, "1 of"), (bob, "2 of"), (ann, "3 of"), (bob, "4 of")):
            expect(tab.locator("#stage")).to_have_class("")
            press(tab, "a")
            expect(tab.locator("#progress-text")).to_contain_text(count)
        expect(bob.locator("#progress-text")).to_have_text("4 of 6 photos, 2 by you, 2 people")
        expect(bob.locator("#end-title")).to_have_text("Other reviewers have the remaining photos")
        ann.close()
        expect(bob.locator("#stage")).to_have_class("", timeout=WAIT)
        assert sorted(line["by"] for line in decisions(answers).values()) == ["Ann", "Ann", "Bob", "Bob"]


def test_a_reviewer_without_a_name_is_asked_for_it(open_page: Any, answers: Path) -> None:
    with review(answers, "--reviewer", "") as (url, _):
        tab = open_page(url)
        expect_photo(tab, "737-800")
        press(tab, "a")
        expect(tab.locator("#error-text")).to_contain_text("Write your name first")
        expect(tab.locator("#reviewer")).to_be_focused()
        tab.keyboard.type("Cleo")
        press(tab, "Enter")
        press(tab, "a")
        expect_photo(tab, "A320neo")
        expect(tab.locator("#error")).to_be_hidden()


def test_a_photo_that_cannot_be_shown_can_be_skipped(open_page: Any, answers: Path) -> None:
    (answers.parent / "737-800.jpg").write_bytes(b"This is not a photo.")
    with review(answers) as (url, _):
        tab = open_page(url)
        expect(tab.locator("#stage")).to_have_class("none")
        press(tab, "s")
        expect_photo(tab, "A320neo")


VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "dark phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "color_scheme": "dark"},
}


def test_the_page_fits_and_has_contrast_in_every_theme_and_width(open_page: Any, answers: Path) -> None:
    with review(answers) as (url, _):
        for view, options in VIEWS.items():
            with closing(open_page(url, **options)) as tab:
                expect(tab.locator("#stage")).to_have_class("", timeout=WAIT)
                tab.get_by_role("button", name="Correct", exact=False).first.click()
                tab.locator("#correction").fill("73")
                assert tab.evaluate("document.documentElement.scrollWidth") == options["viewport"]["width"], view
                texts, low_contrast = tab.evaluate(LOW_CONTRAST)
                assert texts > 20
                assert low_contrast == [], view
                small = tab.evaluate(
                    "[...document.querySelectorAll('button, input, #matches li')].filter((control) =>"
                    " control.checkVisibility() && control.getBoundingClientRect().height < 40)"
                    ".map((control) => control.id || control.textContent)"
                )
                assert small == [] or view != "phone"
                nameless = tab.evaluate(
                    "[...document.querySelectorAll('button, input, progress')].filter((control) =>"
                    " !control.textContent.trim() && !control.labels?.length && !control.ariaLabel).map((c) => c.id)"
                )
                assert nameless == []


# ---- requests of programs


def post(url: str, path: str, body: Any, **headers: str) -> httpx.Response:
    own = {"origin": url.rstrip("/"), "x-requested-with": "planespotter"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{url}{path}", content=content, headers={**own, **headers}, timeout=60)


def test_invalid_and_foreign_requests_are_rejected_with_a_sentence(answers: Path) -> None:
    with review(answers) as (url, _):
        (first, *_) = post(url, "next", {"page": "p"}).json()["photos"]
        for body, words in (
            (b"{", "not a JSON object"),
            (b"[]", "not a JSON object"),
            (b" " * 5000, "more than 4,096 bytes"),
            ({"page": 1}, "page is invalid"),
            ({"page": "p", "photo": "0" * 24, "decision": "accept", "by": "Ann"}, "The decision is invalid"),
            ({"page": "p", "photo": first["id"], "decision": "maybe", "by": "Ann"}, "The decision is invalid"),
            ({"page": "p", "photo": first["id"], "decision": "accept"}, "name of the reviewer is invalid"),
        ):
            response = post(url, "decisions", body)
            assert (response.status_code, words in response.json()["error"]) == (409, True), body
        assert post(url, "decisions", {}, origin="http://elsewhere.example").status_code == 403
        assert httpx.get(f"{url}photos/..%2f..%2fanswers.csv").status_code == 404
        assert httpx.get(f"{url}review", headers={"host": "elsewhere.example"}).status_code == 403
        assert not decisions(answers)
