"""Explore page: its content, and its rendering in a Chromium."""

import io
import os
import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog.stats import SizeCount, compute_stats
from planespotter_scraping.cli import app
from planespotter_scraping.explore import charts, formatting, page
from planespotter_scraping.explore.sections import sections
from planespotter_scraping.explore.suspects import find_suspects

EVIL = "<script>alert(1)</script>"
DAY = date(2026, 11, 22)

LOW_CONTRAST = (Path(__file__).parents[2] / "low_contrast.js").read_text(encoding="utf-8")


def photo(seed: int, width: int = 300, height: int = 200, quality: int = 90) -> bytes:
    """A picture that is different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    output = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(output, "JPEG", quality=quality)
    return output.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with every kind of value, valid and invalid."""
    folder = tmp_path_factory.mktemp("explore") / "planes"
    types = [("Boeing", "737-8AS"), ("Airbus", "A320-214"), ("Boeing", "747-8"), ("Airbus", "A321"), ("Fokker", "F100")]
    airlines = ["Ryanair", "Lufthansa", EVIL, "", "KLM", "Iberia", "$Air & Co_2$"]
    for index in range(60):
        constructor, aircraft_type = types[index % 7 % 5]
        row = {
            "photo_id": f"p{index}",
            "source": ("first", "second", "only-boeing")[0 if constructor != "Boeing" else index % 3],
            "constructor": constructor,
            "aircraft_type": aircraft_type,
            "airline": "Portugalia" if constructor == "Fokker" else airlines[index % 11 % 7 % (7 - index % 2)],
            "registration": f"D-A{index // 4:03}" if index % 9 else "",
            "photographer": f"Ann {index % 3}" if index % 4 else "",
            "licence": "CC BY 4.0" if index % 3 else "",
            "taken_on": f"20{20 + index % 4}-0{1 + index % 9}-11" if index % 5 else "some day",
            "scraped_at": "2026-11-22T16:59:50+00:00",
            "width": str(300 - index % 3 * 60),
            "height": str(200 + index % 2 * 50),
            "review": f"airline: the card says A, the address {EVIL}; constructor: only one" if index in (3, 4) else "",
        }
        seed, quality = (index, 90) if index not in (41, 42) else (40, 90 if index == 41 else 60)
        catalog.append(folder, row, photo(seed, quality=quality))
    (folder / "images/first/p3.jpg").write_bytes(b"<html>not an image</html>")
    (folder / "images/first/p10.jpg").write_bytes(photo(10)[:2000])
    (folder / "images/first/p15.jpg").unlink()
    return folder


def test_the_headline_of_a_chart_does_not_hide_that_most_photos_have_no_model(tmp_path: Path) -> None:
    types = ["A321neo", *["A320"] * 8, *[""] * 11]
    for number, text in enumerate(types):
        row = {"photo_id": f"p{number}", "constructor": "Airbus", "aircraft_type": text}
        catalog.append(tmp_path, row, b"the image")
    labels = sections(compute_stats(catalog.read(tmp_path)), 20, [])[0]
    findings = [getattr(panel, "finding", "") for panel in labels.panels]
    assert (
        "Airbus: 5\N{NO-BREAK SPACE}% of 20 photos have a model; A321neo has 100\N{NO-BREAK SPACE}% of these"
        in findings
    )


def test_the_number_of_models_says_how_many_have_enough_photos(report: Path) -> None:
    words = " ".join(report.read_text(encoding="utf-8").split())
    assert re.search(r"models, \d+ with 20 photos or more", words)


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    page.write(folder, out, per_class=4, today=DAY)
    return out


def opened(chromium: Browser, report: Path, complaints: list[str], **context: Any) -> Page:
    """Open the page in a new context; console messages, errors and requests are appended to `complaints`."""
    tab = chromium.new_context(**context).new_page()
    tab.set_default_timeout(120_000)
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on(
        "request",
        lambda request: complaints.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
    )
    tab.goto(report.as_uri())
    return tab


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_shows_all_images_headings_and_anchors_without_errors(chromium: Browser, report: Path) -> None:
    complaints: list[str] = []
    tab = opened(chromium, report, complaints)
    pictures = tab.evaluate("[...document.images].map((img) => [img.naturalWidth, img.alt, img.src.slice(0, 11)])")
    assert len(pictures) > 20
    assert all(width > 0 and len(alt) > 5 and start == "data:image/" for width, alt, start in pictures)
    headings = [
        int(tag[1]) for tag in tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((e) => e.tagName)")
    ]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(level <= previous + 1 for previous, level in pairwise(headings))
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    targets = tab.evaluate("[...document.querySelectorAll('a')].map((e) => e.getAttribute('href'))")
    assert len(targets) > 8
    anchors = [target for target in targets if target.startswith("#")]
    assert len(anchors) > 8
    assert all(target[1:] in ids for target in anchors)
    files = [target for target in targets if not target.startswith(("#", "https://", "http://"))]
    assert files
    assert all((report.parent / unquote(target)).is_file() for target in files), "each photo opens its image"
    assert complaints == []


@pytest.mark.slow
@pytest.mark.browser
def test_every_plot_has_an_alt_text_and_a_table_of_its_values(chromium: Browser, report: Path) -> None:
    tab = opened(chromium, report, [])
    plots = tab.evaluate(
        """[...document.querySelectorAll("figure.plot")].map((figure) => [
            figure.querySelector("svg").getAttribute("role"), figure.querySelector("svg").getAttribute("aria-label"),
            figure.querySelector("h3").textContent, figure.querySelectorAll("details tbody tr").length])"""
    )
    assert len(plots) == 4  # airlines by rank, sizes, shorter sides, and dates
    for role, alt, finding, rows in plots:
        assert (role, alt.startswith(finding)) == ("img", True)
        assert rows > 1
    tables = tab.evaluate(
        """[...document.querySelectorAll("figure table")].map((table) => [
            table.caption.textContent.length, table.querySelectorAll("thead th[scope=col]").length])"""
    )
    assert len(tables) > 12
    assert all(caption > 5 and columns >= 2 for caption, columns in tables)


@pytest.mark.slow
@pytest.mark.browser
def test_bars_are_sorted_and_proportional_to_their_counts(chromium: Browser, report: Path) -> None:
    tab = opened(chromium, report, [], viewport={"width": 1280, "height": 900})
    rows = tab.evaluate(
        """[...document.querySelectorAll("#airlines figure.bars")[0].querySelectorAll(".bar")].map((bar) =>
            [Number(bar.querySelector("b").textContent), bar.querySelector("i").getBoundingClientRect().width])"""
    )
    assert rows == sorted(rows, key=lambda row: -row[0])
    assert all(width == pytest.approx(rows[0][1] * count / rows[0][0], abs=1) for count, width in rows)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(chromium: Browser, report: Path, scheme: Any) -> None:
    tab = opened(chromium, report, [], color_scheme=scheme)
    checked, low = tab.evaluate(LOW_CONTRAST)
    assert checked > 300
    assert low == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_theme_is_selectable_by_keyboard(chromium: Browser, report: Path) -> None:
    tab = opened(chromium, report, [], color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(background)
    tab.locator("#theme-auto").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(background) == light
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(background) != light
    assert tab.evaluate(LOW_CONTRAST)[1] == []
    summary = tab.locator("summary").first
    summary.focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.querySelector('details').open")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_screen_does_not_scroll_horizontally(chromium: Browser, report: Path, width: int) -> None:
    tab = opened(chromium, report, [], viewport={"width": width, "height": 740})
    tab.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    smallest = tab.evaluate(
        """Math.min(...[...document.querySelectorAll("svg")].map((svg) => 12.5 * svg.getScreenCTM().a))"""
    )
    assert smallest > 9  # font size of a plot in pixels


def test_untrusted_text_is_escaped_and_there_are_no_external_addresses(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert text.count("<script") == 1, "the filter of the page"
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "$Air &amp; Co_2$" in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    addresses = set(re.findall(r"\b(?:https?:)?//[\w.]+", re.sub(r"base64,[^\"]*", "", text))) - {
        "http://www.w3.org"
    }  # namespace of SVG
    assert addresses == set()


def test_broken_images_and_duplicates_are_listed(folder: Path, report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert "3 broken images" in text
    assert "<code>images/first/p3.jpg</code>: it is not an image, but a web page" in text
    assert "<code>images/first/p15.jpg</code>: no such file or directory" in text
    assert "1 image file missing or empty, such as images/first/p15.jpg" in text
    assert "1 exact copy" in text
    assert "1 group of near duplicates" in text


def test_the_page_shows_the_statistics_of_the_catalog(folder: Path, report: Path) -> None:
    stats = compute_stats(catalog.read(folder))
    text = re.sub(r"[ \n]+", " ", report.read_text(encoding="utf-8"))
    assert "<dt>photos</dt><dd>60</dd>" in text
    assert (
        ", ".join(f"{name} {formatting.format_share(count, 60)}" for name, count in stats["constructors"].items())
        in text
    )
    for name, count in stats["airlines"].items():
        if name.isalpha():
            assert f'<th scope="row">{name}</th><td><div class="bar"><i class="s1" style=' in text
            assert f"<b>{count}</b>" in text
    assert "Contradicting labels in 2 photos" in text
    assert "airline 2, constructor 2" in text
    assert "2 sources of 3 have one constructor only: only-boeing (Boeing), second (Boeing)." in text


@pytest.mark.slow
def test_the_same_catalog_yields_the_same_bytes(folder: Path, report: Path, tmp_path: Path) -> None:
    again = tmp_path / "new folder" / "again.html"
    page.write(folder, again, per_class=4, today=DAY)
    # Links to the images are relative to the page.
    link, other = (f'href="{quote(os.path.relpath(folder, out.parent))}/'.encode() for out in (again, report))
    assert link != other
    assert again.read_bytes().replace(link, other) == report.read_bytes()
    assert [file.name for file in again.parent.iterdir()] == ["again.html"]


@pytest.mark.slow
@pytest.mark.browser
def test_photos_are_filtered_and_their_ids_are_listed_to_copy(chromium: Browser, report: Path) -> None:
    complaints: list[str] = []
    tab = opened(chromium, report, complaints, viewport={"width": 1280, "height": 900})
    visible = "[...document.querySelectorAll('#pictures li[data-id]:not([hidden])')].map((node) => node.dataset.id)"
    everything = tab.evaluate(visible)
    tab.locator("#filter [name=words]").fill("boeing")
    some = tab.evaluate(visible)
    assert 0 < len(some) < len(everything)
    assert tab.locator("#ids").input_value().split("\n") == some
    assert tab.locator("#shown").inner_text() == f"{len(some)} of {len(everything)} photos on this page"
    assert tab.locator("#suspects details").count() >= 1
    assert complaints == []


def test_suspects_are_photos_whose_labels_contradict_others() -> None:
    rows = [
        *({"photo_id": f"a{n}", "registration": "D-AIPA", "family": "A320", "constructor": "Airbus"} for n in range(3)),
        {"photo_id": "b", "registration": "D-AIPA", "family": "737", "constructor": "Boeing"},
        {"photo_id": "wide", "registration": "", "family": "", "constructor": "", "width": "2000"},
    ]
    frame = pd.DataFrame([{"width": "900", "height": "600", "review": "", **row} for row in rows])
    stats = {"near_duplicates": [["a0", "b"], ["a1", "a2"]]}
    suspects = {group.id: group.photo_ids for group in find_suspects(frame, stats)}  # type: ignore[arg-type]
    assert suspects == {"duplicate": ["a0", "b"], "airframe": ["b"], "shape": ["wide"]}


def test_thumbnails_are_round_robin_by_class_within_the_size_limit(folder: Path, tmp_path: Path) -> None:
    written = page.write(folder, tmp_path / "small.html", per_class=9, today=DAY, limit=40_000)
    text = (tmp_path / "small.html").read_text(encoding="utf-8")
    classes = len(compute_stats(catalog.read(folder))["models"])
    assert classes <= written.thumbnails < 9 * classes
    assert text.count('<details class="sheet"') == classes
    assert "The thumbnails of this page are limited to 40\u00a0kB" in text
    pictures = re.findall(r'src="(data:image/jpeg[^"]*)"', text[text.index('id="pictures"') :])
    assert sum(map(len, pictures)) <= 40_000


def test_the_command_prints_a_summary_and_the_advice(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = CliRunner().invoke(
        app, ["explore", str(folder), "--out", str(out), "--per-class", "0", "--min-photos", "5"]
    )
    assert result.exit_code == 0, result.output
    assert "shows 60 photos, 0 of them as thumbnails" in result.output
    assert "1 of 7 airlines appears with one constructor only" in result.output
    assert out.exists()


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_of_an_empty_catalog_explains_how_to_fill_it(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("photo_id,file,constructor\n")
    result = CliRunner().invoke(app, ["explore", str(tmp_path), "--out", str(tmp_path / "report.html")])
    assert result.exit_code == 0, result.output
    complaints: list[str] = []
    tab = opened(chromium, tmp_path / "report.html", complaints)
    assert "holds no photos yet" in tab.inner_text("main")
    assert complaints == []


def test_a_folder_without_a_catalog_is_a_catalog_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explore", str(tmp_path), "--out", str(tmp_path / "report.html")])
    assert isinstance(result.exception, catalog.CatalogError)
    assert not (tmp_path / "report.html").exists()


def test_a_handwritten_catalog_with_three_columns_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("photo_id,file,constructor\n1,1.jpg,Boeing\n2,2.jpg,\n")
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(photo(int(name[0])))
    written = page.write(tmp_path, tmp_path / "report.html", today=DAY)
    assert (written.photos, written.thumbnails) == (2, 2)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for sentence in ("No photo has an airline", "No photo has the date when it was taken", "No photo has a licence"):
        assert sentence in text


@pytest.mark.parametrize(
    ("part", "total", "text"),
    [(0, 9, "0\u00a0%"), (1, 1000, "<1\u00a0%"), (999, 1000, ">99\u00a0%"), (9, 9, "100\u00a0%"), (1, 3, "33\u00a0%")],
)
def test_shares_never_round_to_zero_or_to_all(part: int, total: int, text: str) -> None:
    assert formatting.format_share(part, total) == text


@pytest.mark.parametrize("largest", [100, 224, 1000, 6000, 40_000])
def test_a_bin_of_the_histogram_starts_at_224_pixels(largest: int) -> None:
    sizes: list[SizeCount] = [
        {"width": side, "height": side, "photos": 1} for side in {1, 223, 224, largest} if side <= largest
    ]
    bins = charts.histogram(sizes)
    assert sum(photos for *_, photos in bins) == len(sizes)
    assert len({high - low for low, high, _ in bins}) == 1
    assert not any(low < 224 <= high for low, high, _ in bins)
