"""The page in a real Chromium, with a real server behind it."""

import base64
import csv
import io
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from tests.client.processes import serve, serving, web

from planespotter_scraping import catalog
from planespotter_scraping.catalog.folder_import import import_folder

pytestmark = [pytest.mark.slow, pytest.mark.browser]

Paint = Callable[..., bytes]

WAIT = 60_000
expect.set_options(timeout=WAIT)
LOW_CONTRAST = (Path(__file__).parents[2] / "low_contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def url(heat_map_bundle: Path) -> Iterator[str]:
    """The page of a server that accepts photos of up to 100 kB and supports heat maps."""
    with (
        serving(heat_map_bundle, batch_sizes="1,4", max_photo_bytes=100_000) as (address, _),
        web("--server", address) as page,
    ):
        yield page[0]


@pytest.fixture
def open_page(chromium: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Open the page in a separate context. At the end it has logged nothing and sent no request elsewhere."""
    problems: list[str] = []
    contexts = []

    def check_request(request: Any, page_url: str) -> None:
        if not request.url.startswith((page_url, f"blob:{page_url}")):
            problems.append(f"request to {request.url}")

    def check_console(message: ConsoleMessage) -> None:
        # Chromium itself logs a response that is not 200, a deleted file, and a canvas that is read.
        ignored = ("status of 503", "ERR_FILE_NOT_FOUND", "willReadFrequently")
        if not any(text in message.text for text in ignored):
            problems.append(message.text)

    def open_page(page_url: str = url, **options: Any) -> Page:
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(WAIT)
        tab.on("console", check_console)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: check_request(request, page_url))
        tab.on("filechooser", lambda _: None)  # from the start: Playwright does not wait until it catches them
        tab.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")
        tab.goto(page_url)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """A folder with subfolders: photos named for what they show, a damaged one, and text files."""
    (tmp_path / "trip" / "day 10").mkdir(parents=True)
    (tmp_path / "trip" / "day 9").mkdir()
    for name in ("trip/737-800", "trip/day 9/747", "trip/day 10/A320neo", "trip/day 10/nothing known"):
        (tmp_path / f"{name}.jpg").write_bytes(paint(Path(name).name))
    (tmp_path / "trip" / "truncated.JPG").write_bytes(paint("747")[:300])
    (tmp_path / "trip" / "notes.txt").write_text("not a photo")
    (tmp_path / "diary.txt").write_text("not a photo either")
    return tmp_path


def drop(tab: Page, *paths: Path) -> None:
    """Drop files and folders on the page, as the desktop does."""
    session = tab.context.new_cdp_session(tab)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def wait_until_done(tab: Page, photos: int) -> None:
    expect(tab.locator("#progress-text")).to_have_text(f"{photos} of {photos} photo{'s' if photos != 1 else ''}")


def headlines(tab: Page) -> dict[str, str]:
    """Return the headlines of the visible cards, by the names of their photos."""
    names = tab.locator("#cards .file").all_inner_texts()
    texts = [text.replace("\N{NO-BREAK SPACE}", " ") for text in tab.locator("#cards h3").all_inner_texts()]
    return dict(zip(names, texts, strict=True))


def download_csv(tab: Page) -> dict[str, dict[str, str]]:
    """Download the CSV and return its rows, by the names of their photos."""
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "planespotter.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    return {row["file"]: row for row in csv.DictReader(io.StringIO(text))}


def expect_cards(tab: Page, *names: str) -> None:
    """Wait until the visible cards are those of these photos."""
    expect(tab.locator("#cards .file")).to_have_text(list(names))


def names_of(folder: str) -> list[str]:
    return [f"{folder}/{name}.jpg" for name in ("737-800", "day 9/747", "day 10/A320neo", "day 10/nothing known")]


def test_minimum_probability_redraws_names_and_counts(open_page: Callable[..., Page], folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip/day 10/nothing known.jpg", folder / "trip/737-800.jpg")
    wait_until_done(tab, 2)
    by_model = headlines(tab)
    assert by_model["nothing known.jpg"] == "Unknown"
    unknown = tab.locator("#levels label[data-level=unknown] .count")
    expect(unknown).to_have_text("1")
    tab.locator("#minimum").select_option("0")
    expect(unknown).to_have_text("0")
    assert re.match(r"(Airbus|Boeing) .+ %$", headlines(tab)["nothing known.jpg"])
    row = download_csv(tab)["nothing known.jpg"]
    assert row["level"] == "model"
    assert row["model"] == row["best_guess_model"]
    tab.locator("#minimum").select_option("")
    expect(unknown).to_have_text("1")
    assert headlines(tab) == by_model


def test_dropped_photos_and_folders_are_classified(open_page: Any, folder: Path) -> None:
    tab = open_page()
    expect(tab.locator("#model-name")).to_have_text(re.compile(r"\d+ types by Airbus and Boeing"))
    tab.get_by_text("How good is it?").click()
    expect(tab.locator("#model-version")).to_contain_text("Model heat-map 1 at 127.0.0.1:")
    expect(tab.locator("#accuracy")).to_contain_text("It predicts the constructor in 96 % (200) of photos correctly.")
    drop(tab, folder / "trip", folder / "diary.txt")
    wait_until_done(tab, 6)
    texts = headlines(tab)
    assert list(texts) == [
        "diary.txt",
        "trip/737-800.jpg",
        "trip/day 9/747.jpg",
        "trip/day 10/A320neo.jpg",
        "trip/day 10/nothing known.jpg",
        "trip/truncated.JPG",
    ]
    assert re.fullmatch(r"Boeing 737-800 [\d.> ]+ %", texts["trip/737-800.jpg"])
    assert texts["trip/day 9/747.jpg"].startswith("Boeing 747 ")
    assert texts["trip/day 10/nothing known.jpg"] == "Unknown"
    assert texts["diary.txt"] == texts["trip/truncated.JPG"] == "Failed"
    assert "format is not supported" in tab.locator("#cards > li", has_text="diary.txt").inner_text()
    assert "truncated" in tab.locator("#cards > li", has_text="truncated").locator(".error").inner_text()
    expect(tab.locator("#note")).to_have_text("1 file was skipped, as it is not a photo.")
    expect(tab.locator("#announcements")).to_have_text("Done: 6 photos, 2 of them failed.")


def test_card_shows_the_photo_its_prediction_the_confidence_and_the_candidates(open_page: Any, folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip" / "737-800.jpg", folder / "trip" / "day 10" / "nothing known.jpg")
    wait_until_done(tab, 2)
    known, unknown = tab.locator("#cards > li").all()
    expect(known.locator(".candidates")).to_be_hidden()
    known.get_by_text("More", exact=True).click()
    expect(known.locator(".candidates")).to_be_visible()
    expect(known.locator(".confidence")).to_have_text("Confident down to the type")
    assert known.locator(".path .name").all_inner_texts() == ["Boeing", "737", "737-800"]
    assert known.locator(".path .confident").count() == 3
    assert "constructor, confident: Boeing" in known.locator(".path").text_content()
    expect(unknown.locator(".confidence")).to_have_text("Not confident of the constructor")
    assert unknown.locator(".path .confident").count() == 0
    assert "constructor, a guess: " in unknown.locator(".path").text_content()
    assert known.locator(".candidates li").count() == 5
    widths = known.locator(".candidates i").evaluate_all(
        "(bars) => bars.map((bar) => +bar.style.getPropertyValue('--probability'))"
    )
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.9
    expect(known.locator(".picture.ready")).to_be_visible()
    assert known.locator("img").get_attribute("alt") == "The photo 737-800.jpg"


def test_filter_applies_to_the_cards_and_not_to_the_csv(open_page: Any, folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    for level, count in {"All": 5, "Type": 3, "Family": 0, "Constructor": 0, "Unknown": 1, "Failed": 1}.items():
        expect(tab.get_by_role("radio", name=f"{level} {count}")).to_be_visible()
    tab.locator("#level-type").check()
    expect_cards(tab, *names_of("trip")[:3])  # the 747 too, as it has no models in this tree
    expect(tab.locator("#match-count")).to_have_text("3 of 5 photos.")
    tab.get_by_role("radio", name="All").check()
    tab.get_by_label("Constructor", exact=True).select_option("Airbus")
    expect_cards(tab, "trip/day 10/A320neo.jpg")
    tab.get_by_label("Constructor", exact=True).select_option("")
    tab.get_by_label("File name or type").fill("DAY 10")
    expect_cards(tab, *names_of("trip")[2:])
    tab.get_by_label("File name or type").fill("no such")
    expect(tab.locator("#match-count")).to_contain_text("None of the 5 photos matches")
    rows = download_csv(tab)
    assert len(rows) == 5
    known = rows["trip/737-800.jpg"]
    assert [known[name] for name in ("level", "constructor", "family", "model")] == [
        "model",
        "Boeing",
        "737",
        "737-800",
    ]
    assert float(known["model_probability"]) > 0.7
    assert known["candidates"].startswith("Boeing 737-800 0.")
    leaf_family = rows["trip/day 9/747.jpg"]
    assert float(leaf_family["family_probability"]) > 0.7
    assert (leaf_family["name"], leaf_family["model"], leaf_family["model_probability"]) == ("Boeing 747", "", "")
    unknown = rows["trip/day 10/nothing known.jpg"]
    assert (unknown["level"], unknown["name"], unknown["constructor"]) == ("unknown", "unknown", "")
    assert unknown["best_guess_constructor"] in ("Airbus", "Boeing")
    assert "truncated" in rows["trip/truncated.JPG"]["error"]


def test_file_name_is_not_html(open_page: Any, tmp_path: Path, paint: Paint) -> None:
    name = '<img src=x onerror=alert(1)> "1,2".jpg'
    (tmp_path / name).write_bytes(paint("747"))
    tab = open_page()
    drop(tab, tmp_path / name)
    wait_until_done(tab, 1)
    expect_cards(tab, name)
    assert list(download_csv(tab)) == [name]


def test_file_name_in_the_csv_is_not_a_formula(open_page: Any, tmp_path: Path, paint: Paint) -> None:
    names = ["=cmd('x').jpg", "+1.jpg", "-1.jpg", "@sum.jpg", "\tx.jpg", "a=b.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(paint("747"))
    tab = open_page()
    drop(tab, *(tmp_path / name for name in names))
    wait_until_done(tab, 6)
    assert sorted(download_csv(tab)) == sorted([*(f"'{name}" for name in names[:-1]), names[-1]])


def test_page_works_with_the_keyboard_alone(open_page: Any, folder: Path) -> None:
    tab = open_page()

    def tab_to(target: str) -> None:
        for _ in range(30):
            tab.keyboard.press("Tab")
            ring = tab.evaluate(
                "(() => { const focused = document.activeElement;"
                " const outlined = focused.type === 'radio' ? focused.parentElement : focused;"
                " return getComputedStyle(outlined).outlineStyle; })()"
            )
            assert ring != "none"
            if tab.locator(target).evaluate("(element) => element === document.activeElement"):
                return
        raise AssertionError(f"{target} cannot be reached")

    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the results"
    tab_to("#choose")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files([folder / "trip" / "737-800.jpg", folder / "trip" / "day 10" / "nothing known.jpg"])
    wait_until_done(tab, 2)
    tab_to("#level-all")
    for _ in range(4):
        tab.keyboard.press("ArrowRight")
    expect_cards(tab, "nothing known.jpg")
    tab_to("#text")
    tab.keyboard.type("737")
    expect_cards(tab)
    for _ in range(4):
        tab.keyboard.press("Shift+Tab")
    for _ in range(4):
        tab.keyboard.press("ArrowLeft")
    expect_cards(tab, "737-800.jpg")
    for _ in range(4):
        tab.keyboard.press("Shift+Tab")
    assert tab.evaluate("document.activeElement.id") in ("zip", "clear")  # before the totals by type


def test_folder_can_be_chosen_and_image_pasted(open_page: Any, folder: Path, paint: Paint) -> None:
    tab = open_page()
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder / "trip")
    wait_until_done(tab, 5)
    expect(tab.locator("#note")).to_have_text("1 file was skipped, as it is not a photo.")
    assert set(names_of("trip")) < set(tab.locator("#cards .file").all_inner_texts())
    tab.get_by_role("button", name="Remove all").click()
    expect(tab.locator("#results")).to_be_hidden()
    tab.evaluate(
        """(content) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
          transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
          dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
        }""",
        base64.b64encode(paint("A380", "PNG")).decode(),
    )
    wait_until_done(tab, 1)
    assert headlines(tab)["image.png"].startswith("Airbus A380 ")
    assert tab.locator("#cards .confidence").text_content() == "Confident down to the type"  # a leaf of the label tree


def test_hundreds_of_photos_are_paged_and_can_be_stopped(open_page: Any, tmp_path: Path, paint: Paint) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(130):
        (many / f"{number}.jpg").write_bytes(paint("747", size=(24, 16)))
    tab = open_page()
    tab.route("**/photos", lambda route: None)  # which leaves the uploads in flight
    drop(tab, many)
    stop = tab.get_by_role("button", name="Stop")
    stop.click()
    expect(tab.locator("#progress-text")).to_have_text("0 of 130 photos, stopped")
    assert tab.locator("#cards > li").count() == 48
    expect(tab.locator("#cards .picture.ready")).to_have_count(48)  # for printing, all of them
    tab.unroute("**/photos")
    tab.get_by_role("button", name="Resume").click()
    wait_until_done(tab, 130)
    expect(stop).to_be_hidden()
    assert next(iter(headlines(tab))) == "many/0.jpg"
    tab.get_by_role("button", name="Next").click()
    tab.get_by_role("button", name="Next").click()
    expect(tab.locator("#page-number")).to_have_text("Page 3 of 3")
    assert tab.get_by_role("button", name="Next").is_disabled()
    assert list(headlines(tab)) == [f"many/{number}.jpg" for number in range(96, 130)]
    assert tab.evaluate("document.activeElement.id") == "results"


def test_photo_above_the_limit_is_reported_and_can_be_downscaled(open_page: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(-60, 60, (1500, 2200, 3)) + np.array([240, 128, 10])
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "large.jpg", quality=90)
    assert (tmp_path / "large.jpg").stat().st_size > 1_000_000
    tab = open_page()
    drop(tab, tmp_path / "large.jpg")
    wait_until_done(tab, 1)
    assert " MB, limit 0.1 MB" in tab.locator(".error").inner_text()
    tab.get_by_label("Scale large photos down before sending").check()
    tab.get_by_role("button", name="Retry failed photos").click()
    expect(tab.locator("#cards .path")).to_be_visible()
    assert headlines(tab)["large.jpg"].startswith("Airbus")


def test_photos_are_kept_while_the_server_is_lost_and_sent_when_it_is_back(
    open_page: Any, folder: Path, tiny_bundle: Path, reserved_port: int
) -> None:
    error = f"No planespotter server responds at 127.0.0.1:{reserved_port}"
    with web("--server", f"127.0.0.1:{reserved_port}") as (url, _):
        tab = open_page(url)
        expect(tab.get_by_role("alert")).to_contain_text(error)
        drop(tab, folder / "trip")
        expect(tab.get_by_role("alert")).to_contain_text("5 photos will be sent again")
        (folder / "trip" / "day 9" / "747.jpg").unlink()
        with serving(tiny_bundle, reserved_port, batch_sizes="1,4") as (_, process):
            wait_until_done(tab, 5)
            expect(tab.get_by_role("alert")).to_be_hidden()
            deleted = tab.locator("#cards > li", has_text="747")
            assert "can no longer be read" in deleted.locator(".error").inner_text()
            assert headlines(tab)["trip/737-800.jpg"].startswith("Boeing 737-800 ")
            process.kill()
            process.wait()
            expect(tab.get_by_role("button", name="Heat map")).to_have_count(0)
            expect(tab.get_by_role("alert")).to_contain_text(error)  # before any photo is sent
            (folder / "later.jpg").write_bytes((folder / "trip" / "737-800.jpg").read_bytes())
            drop(tab, folder / "later.jpg")
            expect(tab.locator("#progress-text")).to_have_text("5 of 6 photos, waiting for the server")
        tab.close()  # before its server ends, which it would log


def test_card_shows_the_heat_map(open_page: Any, tmp_path: Path) -> None:
    pixels = np.full((200, 300, 3), (0, 245, 10), np.uint8)
    pixels[100:, 200:] = (250, 10, 10)  # the heat map of this model is as strong as the photo is red
    Image.fromarray(pixels).save(tmp_path / "plane.png")
    tab = open_page()
    drop(tab, tmp_path / "plane.png")
    wait_until_done(tab, 1)
    expect(tab.locator(".picture.ready")).to_be_visible()
    tab.get_by_text("More", exact=True).click()
    button = tab.get_by_role("button", name="Heat map of plane.png")
    overlay = tab.locator(".picture canvas")
    expect(overlay).to_be_hidden()
    button.click()
    text = tab.locator("#cards .heat-map-text")
    expect(text).to_have_text("Highlighted: evidence for A380, mostly at the bottom right.weak  strong")
    expect(button).to_have_attribute("aria-pressed", "true")
    strength = overlay.evaluate(
        "(canvas) => [[0.9, 0.9], [0.5, 0.9], [0.9, 0.1]].map(([x, y]) =>"
        " canvas.getContext('2d').getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3])"
    )
    assert strength[0] > 150
    assert max(strength[1:]) < 20
    button.click()
    expect(overlay).to_be_hidden()
    expect(text).to_be_hidden()


VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "dark phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "color_scheme": "dark"},
}


@pytest.mark.parametrize("view", VIEWS)
def test_page_fits_and_has_contrast_in_every_theme_and_width(open_page: Any, folder: Path, view: str) -> None:
    tab = open_page(reduced_motion="reduce", **VIEWS[view])
    expect(tab.locator("#about")).to_be_visible()
    for photos in (0, 5):
        if photos:
            tab.locator("#files").set_input_files(sorted((folder / "trip").rglob("*.[jJ]*")))
            wait_until_done(tab, photos)
        assert tab.evaluate("document.documentElement.scrollWidth") == VIEWS[view]["viewport"]["width"]
        texts, low_contrast = tab.evaluate(LOW_CONTRAST)
        assert texts > (50 if photos else 8)
        assert low_contrast == []
    screenshot = Image.open(io.BytesIO(tab.screenshot()))
    is_dark = np.asarray(screenshot.convert("L")).mean() < 128
    assert is_dark == ("dark" in view)


def test_touch_targets_are_large_enough(open_page: Any, folder: Path) -> None:
    tab = open_page(**VIEWS["phone"])
    expect(tab.locator("#drop-title")).to_have_text("Choose photos", use_inner_text=True)
    tab.locator("#files").set_input_files(sorted((folder / "trip").rglob("*.[jJ]*")))
    wait_until_done(tab, 5)
    small = tab.evaluate(
        "[...document.querySelectorAll('button, select, input[type=search], fieldset label, .option label')]"
        ".filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < 40)"
        ".map((control) => control.outerHTML)"
    )
    assert small == []


def test_screen_reader_finds_names_and_an_outline(open_page: Any, folder: Path) -> None:
    tab = open_page()
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
    assert tab.locator("#bar").get_attribute("aria-label") == "Classified photos"
    assert tab.get_by_role("search", name="Filter the results").is_visible()
    assert tab.get_by_role("group", name="Confident down to").is_visible()
    assert tab.locator("html").get_attribute("lang") == "en"


def test_click_opens_a_large_view_and_arrow_keys_change_the_photo(open_page: Any, folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    tab.get_by_role("button", name="Large view of trip/737-800.jpg").click()
    viewer = tab.get_by_role("dialog", name="Large view")
    expect(viewer.locator("#viewer-position")).to_have_text("1 of 5")
    for key, position, name in (
        ("ArrowRight", "2 of 5", "trip/day 9/747.jpg"),
        ("ArrowLeft", "1 of 5", "trip/737-800.jpg"),
        ("ArrowLeft", "5 of 5", "trip/truncated.JPG"),
        ("ArrowLeft", "4 of 5", "trip/day 10/nothing known.jpg"),
    ):
        tab.keyboard.press(key)
        expect(viewer.locator("#viewer-position")).to_have_text(position)
        expect(viewer.locator("#viewer-file")).to_have_text(name)
    assert viewer.locator("#viewer-name").inner_text().strip() == "Unknown"
    expect(viewer.locator("#viewer-image")).to_have_js_property("naturalWidth", 144)
    _, low_contrast = tab.evaluate(LOW_CONTRAST)
    assert low_contrast == []
    tab.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(tab.get_by_role("button", name="Large view of trip/day 10/nothing known.jpg")).to_be_focused()


def save_correction(tab: Page, name: str, correction: str) -> None:
    tab.get_by_role("button", name=f"Large view of {name}").click()
    tab.get_by_label("Wrong? Correct type").fill(correction)
    tab.keyboard.press("Enter")
    expect(tab.locator("#correction-note")).to_contain_text("Saved: ")
    tab.get_by_role("button", name="Close").click()


def test_corrections_are_kept_and_are_labels_for_the_catalog_import(
    open_page: Any, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    expect(tab.get_by_role("button", name="Download corrections")).to_be_hidden()
    save_correction(tab, "trip/day 10/nothing known.jpg", "737-800")
    save_correction(tab, "trip/day 9/747.jpg", "Embraer E190")
    corrected = tab.locator("#cards > li", has_text="nothing known")
    expect(corrected.locator("h3")).to_have_text("Boeing 737-800 corrected")
    expect(tab.locator("#totals-list button", has_text="Embraer E190")).to_have_text("Embraer E190 1")
    expect(tab.locator("#totals-list button", has_text="Boeing 737-800")).to_have_text("Boeing 737-800 2")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download corrections").click()
    labels = tmp_path_factory.mktemp("labels")
    download.value.save_as(labels / "labels.csv")
    result = import_folder(folder, labels / "catalog", labels=labels / "labels.csv")
    assert result.stored == 2
    table = catalog.read(labels / "catalog")
    assert dict(zip(table["constructor"], table["aircraft_type"], strict=True)) == {
        "Boeing": "737-800",
        "Embraer": "Embraer E190",
    }
    assert download_csv(tab)["trip/day 9/747.jpg"]["correction"] == "Embraer E190"
    tab.reload()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    expect(corrected.locator("h3")).to_have_text("Boeing 737-800 corrected")


def test_totals_filter_and_order(open_page: Any, folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    totals = tab.locator("#totals-list button")
    expect(totals.last).to_have_text("Unknown 1")
    assert tab.locator("#totals-bar i").last.get_attribute("title") == "Unknown: 1"
    totals.last.click()
    expect_cards(tab, "trip/day 10/nothing known.jpg")
    assert tab.evaluate("document.activeElement.dataset.label") == "Unknown"
    totals.last.click()
    expect(tab.locator("#cards > li")).to_have_count(5)
    tab.get_by_label("Order").select_option("Most confident first")
    expect(tab.locator("#cards .file").last).to_have_text("trip/truncated.JPG")
    percents = [float(text.strip("<> %\N{NO-BREAK SPACE}")) for text in headline_percents(tab)]
    assert percents == sorted(percents, reverse=True)
    tab.get_by_label("Order").select_option("Least confident first")
    expect(tab.locator("#cards .file").first).to_have_text("trip/truncated.JPG")


def headline_percents(tab: Page) -> list[str]:
    return [text for text in tab.locator("#cards h3 .percent").all_inner_texts() if text]


def test_zip_has_the_photos_in_folders_by_type(open_page: Any, folder: Path) -> None:
    (folder / "trip" / "day 9" / "737-800.jpg").write_bytes((folder / "trip" / "737-800.jpg").read_bytes() + b"\0")
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 6)
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download zip by type").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist())[-2:] == ["Boeing/747/747.jpg", "unknown/nothing known.jpg"]
        assert {name for name in archive.namelist() if "737" in name} == {
            "Boeing/737/737-800/737-800.jpg",
            "Boeing/737/737-800/737-800 (2).jpg",
        }
        assert archive.read("Boeing/747/747.jpg") == (folder / "trip" / "day 9" / "747.jpg").read_bytes()
        assert len(archive.namelist()) == 5  # not the damaged one


def test_file_that_is_dropped_twice_counts_once_and_remove_all_can_be_undone(open_page: Any, folder: Path) -> None:
    tab = open_page()
    drop(tab, folder / "trip")
    wait_until_done(tab, 5)
    drop(tab, folder / "trip" / "737-800.jpg", folder / "trip" / "day 9")
    expect(tab.locator("#note")).to_have_text("2 photos are here already.")
    wait_until_done(tab, 5)
    expected = headlines(tab)
    tab.get_by_role("button", name="Remove all").click()
    expect(tab.locator("#undo-text")).to_have_text("5 photos removed.")
    assert tab.evaluate("document.activeElement.id") == "undo"
    tab.keyboard.press("Enter")
    wait_until_done(tab, 5)
    assert headlines(tab) == expected
    expect(tab.get_by_role("radio", name="Type 3")).to_be_visible()
    expect(tab.get_by_role("button", name="Undo")).to_be_hidden()


def test_lost_server_is_reported_soon(open_page: Any, folder: Path, tiny_bundle: Path) -> None:
    with serving(tiny_bundle, batch_sizes="1,4") as (address, process), web("--server", address) as (url, _):
        tab = open_page(url)
        drop(tab, folder / "trip")
        wait_until_done(tab, 5)
        process.kill()
        process.wait()
        started = time.monotonic()
        tab.locator("#error").wait_for()
        assert time.monotonic() - started < 3  # a second on an idle machine
        assert f"The server at {address} does not respond." in tab.locator("#error-text").inner_text()
        tab.close()


def test_phone_has_a_camera_button_and_shows_the_results_first(open_page: Any, folder: Path) -> None:
    tab = open_page(**VIEWS["phone"])
    expect(tab.get_by_role("button", name="Take a photo")).to_be_visible()
    assert tab.locator("#camera").get_attribute("capture") == "environment"
    tab.locator("#files").set_input_files(sorted((folder / "trip").rglob("*.[jJ]*")))
    wait_until_done(tab, 5)
    expect(tab.locator("#filter")).to_be_hidden()
    tab.wait_for_timeout(1000)  # until it has scrolled
    top = tab.locator("#cards .picture").first.bounding_box()["y"]
    assert top < VIEWS["phone"]["viewport"]["height"] / 2
    tab.get_by_role("button", name="Filter, sort and save").click()
    expect(tab.locator("#filter")).to_be_visible()
    expect(tab.get_by_role("button", name="Download CSV")).to_be_visible()


def test_zip_file_is_unpacked_in_the_browser(open_page: Any, folder: Path) -> None:
    with zipfile.ZipFile(folder / "trip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "trip" / "737-800.jpg", "day/737-800.jpg")
        archive.write(folder / "trip" / "day 9" / "747.jpg", "tägliche/747.jpg", zipfile.ZIP_STORED)
        archive.write(folder / "diary.txt", "diary.txt")
        archive.writestr("__MACOSX/day/._737-800.jpg", b"a resource fork")
        archive.mkdir("empty")
    tab = open_page()
    drop(tab, folder / "trip.zip")
    wait_until_done(tab, 2)
    texts = headlines(tab)
    assert texts.keys() == {"trip.zip/day/737-800.jpg", "trip.zip/tägliche/747.jpg"}
    assert texts["trip.zip/day/737-800.jpg"].startswith("Boeing 737-800 ")
    assert texts["trip.zip/tägliche/747.jpg"].startswith("Boeing 747 ")
    expect(tab.locator("#note")).to_have_text("2 files were skipped, as they are not photos.")
    tab.locator("#files").set_input_files(folder / "trip.zip")
    expect(tab.locator("#note")).to_contain_text("2 photos are here already.")


def test_zip_file_that_cannot_be_read_is_explained_and_other_photos_are_classified(
    open_page: Any, folder: Path
) -> None:
    photo = (folder / "trip" / "737-800.jpg").read_bytes()
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", photo + bytes(1_000_000))
    bomb = (folder / "bomb.zip").read_bytes()
    size = (len(photo) + 1_000_000).to_bytes(4, "little")
    (folder / "bomb.zip").write_bytes(bomb.replace(size, (1000).to_bytes(4, "little")))
    with zipfile.ZipFile(folder / "locked.zip", "w") as archive:
        archive.writestr("photo.jpg", photo)
    locked = (folder / "locked.zip").read_bytes()
    entry = locked.index(b"PK\1\2") + 8  # the flags in the directory
    (folder / "locked.zip").write_bytes(locked[:entry] + b"\1" + locked[entry + 1 :])
    (folder / "other.zip").write_bytes(b"not a zip file")
    tab = open_page()
    drop(tab, folder / "bomb.zip", folder / "locked.zip", folder / "other.zip", folder / "trip" / "737-800.jpg")
    wait_until_done(tab, 1)
    note = tab.locator("#note")
    expect(note).to_contain_text("bomb.zip could not be read completely. photo.jpg is damaged.")
    expect(note).to_contain_text("locked.zip could not be read completely. photo.jpg is encrypted.")
    expect(note).to_contain_text("other.zip could not be read completely. It is damaged or not a zip file.")


def test_video_becomes_a_photo_per_second(open_page: Any, tmp_path: Path, paint: Paint) -> None:
    import av

    with av.open(str(tmp_path / "clip.webm"), "w") as file:
        track = file.add_stream("vp8", rate=5)
        track.width, track.height, track.pix_fmt = 144, 96, "yuv420p"
        for name in ["A320neo"] * 10 + ["737-800"] * 5:
            image = np.asarray(Image.open(io.BytesIO(paint(name))))
            file.mux(track.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(track.encode())
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    tab = open_page()
    drop(tab, tmp_path / "clip.webm", tmp_path / "broken.mp4")
    wait_until_done(tab, 3)
    names = {name: re.sub(r" [\d.> ]+ %$", "", text) for name, text in headlines(tab).items()}
    assert names == {
        "clip.webm 0:00": "Airbus A320neo",
        "clip.webm 0:01": "Airbus A320neo",
        "clip.webm 0:02": "Boeing 737-800",
    }
    expect(tab.locator("#note")).to_contain_text(
        "broken.mp4 could not be read completely. This browser cannot decode it."
    )


def test_model_can_be_chosen_and_classifies_the_photos_again(
    open_page: Any, folder: Path, tiny_bundle: Path, heat_map_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    models = tmp_path_factory.mktemp("models")
    for name, bundle in (("tiny", tiny_bundle), ("heat-map", heat_map_bundle)):
        shutil.copytree(bundle, models / name / "1")
    with (
        serve("--model-repository", models, "--default-model", "tiny", "--batch-sizes", "1,4", "--port", 0) as (
            address,
            _,
        ),
        web("--server", address) as (url, _),
    ):
        tab = open_page(url)
        choice = tab.get_by_label("Model that classifies the photos")
        expect(choice).to_have_value("tiny")
        assert choice.locator("option").all_inner_texts() == ["heat-map", "tiny"]
        drop(tab, folder / "trip")
        wait_until_done(tab, 5)
        card = tab.locator("#cards > li").first
        card.get_by_text("More", exact=True).click()
        expect(card.locator(".heat-map")).to_be_hidden()
        choice.select_option("heat-map")
        expect(card.locator(".heat-map")).to_be_visible()
        wait_until_done(tab, 5)
        card.locator(".heat-map").click()
        expect(card.locator("canvas")).to_be_visible()
        assert headlines(tab)["trip/737-800.jpg"].startswith("Boeing 737-800 ")
        tab.close()


def test_single_model_is_not_offered_as_a_choice(open_page: Any) -> None:
    tab = open_page()
    expect(tab.locator("#model-name")).to_contain_text("types")
    expect(tab.locator("#model-choice")).to_be_hidden()
