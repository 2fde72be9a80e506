"""The page for photos in a real Chromium, with a real server behind it."""

import base64
import csv
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from tests.client.web.web_command import web

from planespotter_scraping.crawling import browser

pytestmark = [pytest.mark.slow, pytest.mark.browser]

Paint = Callable[..., bytes]

WAIT = 60_000
expect.set_options(timeout=WAIT)
LOW_CONTRAST = (Path(__file__).parents[2] / "low_contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(browser.ensure_chromium()), args=[*browser.LAUNCH_ARGUMENTS, "--no-sandbox"]
        )
        yield started
        started.close()


@contextmanager
def server_of(bundle: Path, port: int = 0, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a server of `bundle`; yields its address and its process."""
    command = [
        sys.executable,
        "-m",
        "planespotter_client.commands.main",
        "serve",
        "--model",
        str(bundle),
        "--port",
        str(port),
    ]
    command += ["--batch-sizes", "1,4", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("Serving ")
            yield first.split()[-1], process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(explaining_bundle: Path) -> Iterator[str]:
    """The page of a server that takes photos of up to 100 kB and can tell where its network looked."""
    with server_of(explaining_bundle, 0, "--max-photo-bytes", "100000") as (address, _), web("--server", address) as at:
        yield at[0]


@pytest.fixture
def opened(chromium: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Open the page in a context of its own. In the end it has complained of nothing and asked nobody else."""
    complaints: list[str] = []
    contexts = []

    def note(request: Any, at: str) -> None:
        if not request.url.startswith((at, f"blob:{at}")):
            complaints.append(f"asked for {request.url}")

    def heard(message: ConsoleMessage) -> None:
        # Chromium itself notes an answer that is no 200, a file that has gone, and a canvas that is read.
        if not any(note in message.text for note in ("status of 503", "ERR_FILE_NOT_FOUND", "willReadFrequently")):
            complaints.append(message.text)

    def opened(at: str = url, **options: Any) -> Page:
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(WAIT)
        tab.on("console", heard)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: note(request, at))
        tab.on("filechooser", lambda _: None)  # from the start: Playwright does not wait until it catches them
        tab.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")
        tab.goto(at)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """A folder as people have them: photos named for what they show, below each other, and files that are none."""
    (tmp_path / "trip" / "day 10").mkdir(parents=True)
    (tmp_path / "trip" / "day 9").mkdir()
    for name in ("trip/737-800", "trip/day 9/747", "trip/day 10/A320neo", "trip/day 10/nothing known"):
        (tmp_path / f"{name}.jpg").write_bytes(paint(Path(name).name))
    (tmp_path / "trip" / "cut short.JPG").write_bytes(paint("747")[:300])
    (tmp_path / "trip" / "notes.txt").write_text("no photo")
    (tmp_path / "diary.txt").write_text("no photo either")
    return tmp_path


def drop(tab: Page, *paths: Path) -> None:
    """Drop files and folders on the page, as the desktop does."""
    session = tab.context.new_cdp_session(tab)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def wait_until_done(tab: Page, photos: int) -> None:
    expect(tab.locator("#numbers")).to_have_text(f"{photos} of {photos} photo{'s' if photos != 1 else ''}")


def sentences(tab: Page) -> dict[str, str]:
    """Return what the cards on view say, by the names of their photos."""
    names = tab.locator("#cards .file").all_inner_texts()
    said = [text.replace("\N{NO-BREAK SPACE}", " ") for text in tab.locator("#cards h3").all_inner_texts()]
    return dict(zip(names, said, strict=True))


def saved(tab: Page) -> dict[str, dict[str, str]]:
    """Download the CSV and return its rows, by the names of their photos."""
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "planespotter.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


def shows(tab: Page, *names: str) -> None:
    """The cards on view come to be those of photos with these names."""
    expect(tab.locator("#cards .file")).to_have_text(list(names))


def names_of(folder: str) -> list[str]:
    return [f"{folder}/{name}.jpg" for name in ("737-800", "day 9/747", "day 10/A320neo", "day 10/nothing known")]


def test_photos_and_folders_that_are_dropped_get_sentences(opened: Any, folder: Path) -> None:
    tab = opened()
    expect(tab.locator("#who")).to_contain_text("explaining 1 answers, at 127.0.0.1:")
    expect(tab.locator("#figures")).to_contain_text("It names the constructor in 96 of 100 (200) photos right.")
    drop(tab, folder / "trip", folder / "diary.txt")
    wait_until_done(tab, 6)
    said = sentences(tab)
    assert list(said) == [
        "diary.txt",
        "trip/737-800.jpg",
        "trip/cut short.JPG",
        "trip/day 9/747.jpg",
        "trip/day 10/A320neo.jpg",
        "trip/day 10/nothing known.jpg",
    ]
    assert said["trip/737-800.jpg"].startswith("Boeing 737-800, ")
    assert said["trip/737-800.jpg"].endswith(" %; surely a Boeing")
    assert said["trip/day 9/747.jpg"].startswith("Boeing 747, ")
    assert said["trip/day 10/nothing known.jpg"].startswith("Unknown; the best guess is ")
    assert said["diary.txt"] == said["trip/cut short.JPG"] == "No answer"
    assert "no JPEG, PNG or WebP" in tab.locator("#cards > li", has_text="diary.txt").inner_text()
    assert "truncated" in tab.locator("#cards > li", has_text="cut short").locator(".why").inner_text()
    expect(tab.locator("#note")).to_have_text("1 file that is no photo was left out.")
    expect(tab.locator("#spoken")).to_have_text("Done: 6 photos, 2 of them failed.")


def test_a_card_shows_the_photo_how_sure_the_answer_is_and_what_else_it_may_be(opened: Any, folder: Path) -> None:
    tab = opened()
    drop(tab, folder / "trip" / "737-800.jpg", folder / "trip" / "day 10" / "nothing known.jpg")
    wait_until_done(tab, 2)
    known, unknown = tab.locator("#cards > li").all()
    expect(known.locator(".certainty")).to_have_text("Sure of the model")
    assert known.locator(".path .name").all_inner_texts() == ["Boeing", "737", "737-800"]
    assert known.locator(".path .sure").count() == 3
    assert "constructor, sure: Boeing" in known.locator(".path").text_content()
    expect(unknown.locator(".certainty")).to_have_text("Not even sure of the constructor")
    assert unknown.locator(".path .sure").count() == 0
    assert "constructor, a guess: " in unknown.locator(".path").text_content()
    assert known.locator(".bars li").count() == 5
    widths = known.locator(".bars i").evaluate_all("(bars) => bars.map((bar) => +bar.style.getPropertyValue('--v'))")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.9
    expect(known.locator(".picture.ready")).to_be_visible()
    assert known.locator("img").get_attribute("alt") == "The photo 737-800.jpg"


def test_the_filter_shows_some_and_the_csv_holds_all(opened: Any, folder: Path) -> None:
    tab = opened()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    for level, count in {"All": 5, "Model": 2, "Family": 1, "Constructor": 0, "Unknown": 1, "Failed": 1}.items():
        expect(tab.get_by_role("radio", name=f"{level} {count}")).to_be_visible()
    tab.get_by_label("Family").check()
    shows(tab, "trip/day 9/747.jpg")
    expect(tab.locator("#shown")).to_have_text("1 of 5 photos.")
    tab.get_by_role("radio", name="All").check()
    tab.get_by_label("Constructor", exact=True).select_option("Airbus")
    shows(tab, "trip/day 10/A320neo.jpg")
    tab.get_by_label("Constructor", exact=True).select_option("")
    tab.get_by_label("File name or type").fill("DAY 10")
    shows(tab, *names_of("trip")[2:])
    tab.get_by_label("File name or type").fill("no such")
    expect(tab.locator("#shown")).to_contain_text("None of the 5 photos matches")
    rows = saved(tab)
    assert len(rows) == 5
    known = rows["trip/737-800.jpg"]
    assert [known[name] for name in ("level", "constructor", "family", "model")] == [
        "model",
        "Boeing",
        "737",
        "737-800",
    ]
    assert float(known["model_probability"]) > 0.7
    assert known["alternatives"].startswith("Boeing 737-800 0.")
    ends_at_family = rows["trip/day 9/747.jpg"]
    assert float(ends_at_family["family_probability"]) > 0.7
    assert (ends_at_family["model"], ends_at_family["model_probability"]) == ("", "")
    assert rows["trip/day 10/nothing known.jpg"]["level"] == "unknown"
    assert "truncated" in rows["trip/cut short.JPG"]["error"]


def test_file_names_are_text_and_nothing_else(opened: Any, tmp_path: Path, paint: Paint) -> None:
    name = '<img src=x onerror=alert(1)> "1,2".jpg'
    (tmp_path / name).write_bytes(paint("747"))
    tab = opened()
    drop(tab, tmp_path / name)
    wait_until_done(tab, 1)
    shows(tab, name)
    assert list(saved(tab)) == [name]


def test_no_file_name_is_a_formula_in_a_spreadsheet(opened: Any, tmp_path: Path, paint: Paint) -> None:
    names = ["=cmd('x').jpg", "+1.jpg", "-1.jpg", "@sum.jpg", "\tx.jpg", "a=b.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(paint("747"))
    tab = opened()
    drop(tab, *(tmp_path / name for name in names))
    wait_until_done(tab, 6)
    assert sorted(saved(tab)) == sorted([*(f"'{name}" for name in names[:-1]), names[-1]])


def test_all_of_it_works_with_the_keyboard_alone(opened: Any, folder: Path) -> None:
    tab = opened()

    def tab_to(target: str) -> None:
        for _ in range(30):
            tab.keyboard.press("Tab")
            ring = tab.evaluate(
                "(() => { const at = document.activeElement;"
                " const seen = at.type === 'radio' ? at.parentElement : at;"
                " return getComputedStyle(seen).outlineStyle; })()"
            )
            assert ring != "none"
            if tab.locator(target).evaluate("(element) => element === document.activeElement"):
                return
        raise AssertionError(f"{target} cannot be reached")

    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the answers"
    tab_to("#choose")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files([folder / "trip" / "737-800.jpg", folder / "trip" / "day 10" / "nothing known.jpg"])
    wait_until_done(tab, 2)
    tab_to("#level-all")
    for _ in range(4):
        tab.keyboard.press("ArrowRight")
    shows(tab, "nothing known.jpg")
    tab_to("#text")
    tab.keyboard.type("737")
    shows(tab)
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Shift+Tab")
    for _ in range(4):
        tab.keyboard.press("ArrowLeft")
    shows(tab, "737-800.jpg")
    for _ in range(3):
        tab.keyboard.press("Shift+Tab")
    assert tab.evaluate("document.activeElement.id") in ("csv", "clear", "smaller")


def test_a_folder_can_be_chosen_and_a_picture_pasted(opened: Any, folder: Path, paint: Paint) -> None:
    tab = opened()
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder / "trip")
    wait_until_done(tab, 5)
    expect(tab.locator("#note")).to_have_text("1 file that is no photo was left out.")
    assert set(names_of("trip")) < set(tab.locator("#cards .file").all_inner_texts())
    tab.get_by_role("button", name="Remove all").click()
    expect(tab.locator("#answers")).to_be_hidden()
    tab.evaluate(
        """(content) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
          dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
        }""",
        base64.b64encode(paint("A380", "PNG")).decode(),
    )
    wait_until_done(tab, 1)
    assert sentences(tab)["image.png"].startswith("Airbus A380, ")
    assert tab.locator(".certainty").inner_text() == "Sure of the type"  # the network tells no models of it apart


def test_hundreds_of_photos_come_in_pages_can_be_stopped_and_go_on(opened: Any, tmp_path: Path, paint: Paint) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(130):
        (many / f"{number}.jpg").write_bytes(paint("747", size=(24, 16)))
    tab = opened()
    tab.route("**/photos", lambda route: None)  # which leaves them under way for ever
    drop(tab, many)
    stop = tab.get_by_role("button", name="Stop")
    stop.click()
    expect(tab.locator("#numbers")).to_have_text("0 of 130 photos, stopped")
    assert tab.locator("#cards > li").count() == 48
    expect(tab.locator("#cards .picture.ready")).to_have_count(48)  # on paper, all can be seen
    tab.unroute("**/photos")
    tab.get_by_role("button", name="Go on").click()
    wait_until_done(tab, 130)
    expect(stop).to_be_hidden()
    assert next(iter(sentences(tab))) == "many/0.jpg"
    tab.get_by_role("button", name="Next").click()
    tab.get_by_role("button", name="Next").click()
    expect(tab.locator("#where")).to_have_text("Page 3 of 3")
    assert tab.get_by_role("button", name="Next").is_disabled()
    assert list(sentences(tab)) == [f"many/{number}.jpg" for number in range(96, 130)]
    assert tab.evaluate("document.activeElement.id") == "answers"


def test_a_photo_beyond_the_limit_is_said_to_be_so_and_can_be_made_smaller(opened: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(-60, 60, (1500, 2200, 3)) + np.array([240, 128, 10])
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "large.jpg", quality=90)
    assert (tmp_path / "large.jpg").stat().st_size > 1_000_000
    tab = opened()
    drop(tab, tmp_path / "large.jpg")
    wait_until_done(tab, 1)
    assert "MB; the server takes 0.1 MB" in tab.locator(".why").inner_text()
    tab.get_by_label("Make large photos smaller first").check()
    tab.get_by_role("button", name="Send failed ones again").click()
    expect(tab.locator(".certainty")).to_be_visible()
    assert sentences(tab)["large.jpg"].startswith("Airbus")


def test_while_the_server_is_away_photos_are_kept_and_sent_when_it_is_back(
    opened: Any, folder: Path, tiny_bundle: Path, kept_port: int
) -> None:
    trouble = f"No planespotter server answers at 127.0.0.1:{kept_port}"
    with web("--server", f"127.0.0.1:{kept_port}") as (url, _):
        tab = opened(url)
        expect(tab.get_by_role("alert")).to_contain_text(trouble)
        drop(tab, folder / "trip")
        expect(tab.get_by_role("alert")).to_contain_text("5 photos wait and are sent again")
        (folder / "trip" / "day 9" / "747.jpg").unlink()
        with server_of(tiny_bundle, kept_port) as (_, process):
            wait_until_done(tab, 5)
            expect(tab.get_by_role("alert")).to_be_hidden()
            gone = tab.locator("#cards > li", has_text="747")
            assert "can no longer be read" in gone.locator(".why").inner_text()
            assert sentences(tab)["trip/737-800.jpg"].startswith("Boeing 737-800, ")
            process.kill()
            process.wait()
            expect(tab.get_by_role("button", name="Where it looked")).to_have_count(0)
            drop(tab, folder / "trip" / "day 10")
            expect(tab.get_by_role("alert")).to_contain_text(trouble)
            expect(tab.locator("#numbers")).to_have_text("5 of 7 photos")
        tab.close()  # or it would complain that its own server has ended, too


def test_a_card_shows_where_the_network_looked(opened: Any, tmp_path: Path) -> None:
    pixels = np.full((200, 300, 3), (0, 245, 10), np.uint8)
    pixels[100:, 200:] = (250, 10, 10)  # the map of this network is as strong as the photo is red
    Image.fromarray(pixels).save(tmp_path / "plane.png")
    tab = opened()
    drop(tab, tmp_path / "plane.png")
    wait_until_done(tab, 1)
    expect(tab.locator(".picture.ready")).to_be_visible()
    button = tab.get_by_role("button", name="Where it looked in plane.png")
    glow = tab.locator(".picture canvas")
    expect(glow).to_be_hidden()
    button.click()
    expect(tab.locator(".looked")).to_have_text("The glow is what spoke for A380: most of it at the bottom right.")
    expect(button).to_have_attribute("aria-pressed", "true")
    strength = glow.evaluate(
        "(canvas) => [[0.9, 0.9], [0.5, 0.9], [0.9, 0.1]].map(([x, y]) =>"
        " canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3])"
    )
    assert strength[0] > 150
    assert max(strength[1:]) < 20
    button.click()
    expect(glow).to_be_hidden()
    expect(tab.locator(".looked")).to_be_hidden()


VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "dark phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "color_scheme": "dark"},
}


@pytest.mark.parametrize("view", VIEWS)
def test_it_fits_and_can_be_read_in_every_light_and_width(opened: Any, folder: Path, view: str) -> None:
    tab = opened(reduced_motion="reduce", **VIEWS[view])
    expect(tab.locator("#who strong")).to_be_visible()
    for photos in (0, 5):
        if photos:
            tab.locator("#files").set_input_files(sorted((folder / "trip").rglob("*.[jJ]*")))
            wait_until_done(tab, photos)
        assert tab.evaluate("document.documentElement.scrollWidth") == VIEWS[view]["viewport"]["width"]
        seen, low = tab.evaluate(LOW_CONTRAST)
        assert seen > (60 if photos else 8)
        assert low == []
    picture = Image.open(io.BytesIO(tab.screenshot()))
    dark = np.asarray(picture.convert("L")).mean() < 128
    assert dark == ("dark" in view)


def test_what_a_finger_can_touch_is_large_enough(opened: Any, folder: Path) -> None:
    tab = opened(**VIEWS["phone"])
    expect(tab.locator("#drop-title")).to_have_text("Choose photos", use_inner_text=True)
    tab.locator("#files").set_input_files(sorted((folder / "trip").rglob("*.[jJ]*")))
    wait_until_done(tab, 5)
    small = tab.evaluate(
        "[...document.querySelectorAll('button, select, input[type=search], fieldset label, .option label')]"
        ".filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < 40)"
        ".map((control) => control.outerHTML)"
    )
    assert small == []


def test_a_screen_reader_finds_names_and_an_order(opened: Any, folder: Path) -> None:
    tab = opened()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((heading) => +heading.tagName[1])")
    assert levels == [1, 2, 2, 3, 3, 3, 3, 3]
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    nameless = tab.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select, progress')].filter((control) =>"
        " !control.textContent.trim() && !control.labels?.length && !control.ariaLabel).map((control) => control.id)"
    )
    assert nameless == []
    assert tab.get_by_role("progressbar", name="Photos that have an answer").is_visible()
    assert tab.get_by_role("search", name="Filter the answers").is_visible()
    assert tab.get_by_role("group", name="Sure down to").is_visible()
    assert tab.locator("html").get_attribute("lang") == "en"
