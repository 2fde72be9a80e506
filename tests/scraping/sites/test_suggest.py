"""Profile suggestion: a first profile from a page, by what it states and how its values look."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scraping.sites.test_sample import PAGE
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling.crawl import get_site, scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sample_site.server import SampleSite, serve
from planespotter_scraping.sites import Site
from planespotter_scraping.sites.profile import ProfileError
from planespotter_scraping.sites.suggest import describe, suggest_profile

PHOTOS = (
    (11, "Boeing 737-8AS", "Ann", "EI-DAC"),
    (12, "Airbus A320-214", "Bob", "D-AIPA"),
    (13, "787-9", "C", "N1AB"),
)


def page(card: str, head: str = "", after: str = "") -> str:
    """Return a page with a logo and a card for each photo."""
    cards = "".join(card.format(n=n, type=kind, who=who, reg=reg) for n, kind, who, reg in PHOTOS)
    return f"<html><body><nav><img src=logo.png></nav>{head}<ul id=grid>{cards}</ul>{after}</body></html>"


def photos(html: str) -> list[dict[str, str]]:
    return suggest_profile(html, "https://www.ramp.example/new").listing.photos


def test_fields_are_recognized_by_their_values_without_meaningful_names() -> None:
    card = (
        '<li><a href="/v/{n}"><img src="/i/{n}.jpg"></a><b class=x1>{type}</b><i class=x3>{reg}</i><time>{n} May 2026'
    )
    first, *_ = photos(page(card + "</time></li>"))
    assert first["photo_id"] == "11"
    assert first["page_url"] == "https://www.ramp.example/v/11"
    assert first["image_url"] == "https://www.ramp.example/i/11.jpg"
    assert (first["aircraft_type"], first["registration"]) == ("Boeing 737-8AS", "EI-DAC")
    assert first["taken_on"] == "11 May 2026"


def test_fields_are_recognized_by_microdata_and_a_registration_within_a_caption() -> None:
    card = (
        '<li itemscope itemtype="https://schema.org/ImageObject">'
        '<img itemprop=contentUrl data-src="/i/{n}.jpg" src="data:x">'
        "<p itemprop=name>{type} {reg}</p><i itemprop=author>{who}</i><a itemprop=license href=/cc>CC BY</a></li>"
    )
    suggestion = suggest_profile(page(card), "https://www.ramp.example/new")
    first, *_ = suggestion.listing.photos
    assert (first["image_url"], first["photographer"]) == ("https://www.ramp.example/i/11.jpg", "Ann")
    assert (first["registration"], first["licence"]) == ("EI-DAC", "CC BY")
    assert '[itemtype$="/ImageObject"]' in suggestion.text


def test_json_ld_identifies_the_photographer_and_open_graph_the_name() -> None:
    card = '<li data-id="{n}"><img src="/i/{n}.jpg"><b class=a>{who}</b><b class=b>{type}</b></li>'
    stated = ", ".join(f'{{"@type": "ImageObject", "creator": {{"name": "{who}"}}}}' for _, _, who, _ in PHOTOS)
    head = (
        f'<meta property="og:site_name" content="Ramp Shots!"><script type="application/ld+json">[{stated}]</script>'
        '<script type="application/ld+json">not JSON</script>'
    )
    suggestion = suggest_profile(page(card, head=head, after="<a rel=next href=/2>2</a>"), "https://ramp.example/new")
    assert suggestion.name == "ramp-shots"
    assert [each["photographer"] for each in suggestion.listing.photos] == ["Ann", "Bob", "C"]
    assert suggestion.listing.next_url == "https://ramp.example/2"


def test_links_are_recognized_by_their_paths_and_a_missing_one_shifts_no_field() -> None:
    suggestion = suggest_profile(PAGE, "http://127.0.0.1:8000/photos/latest")
    assert [each["aircraft_type"] for each in suggestion.listing.photos] == ["A330-302", "737-8AS", ""]
    assert [each["airline"] for each in suggestion.listing.photos] == ["Orchid Pacific", "", ""]
    lines = describe(suggestion)
    assert lines[0] == "3 photos on 3 cards."
    assert any(line.split()[:3] == ["airline", "33%", "Orchid"] for line in lines)


@pytest.mark.parametrize("html", ["", "<p>Hello</p>", "<img src=a><img src=b><img src=c>"])
def test_a_page_without_cards_is_explained(html: str) -> None:
    with pytest.raises(ProfileError, match=r"no 3 elements that repeat with one picture each. Give the URL of a list"):
        suggest_profile(html, "https://ramp.example/new")


TAGS = [
    "<li class=c>",
    "</li>",
    "<img src=1.jpg>",
    "<a href=/t/737/x>",
    "</a>",
    "<b class='a\"b'>",
    "text",
    "<ul id=u>",
]


@given(st.lists(st.sampled_from(TAGS), max_size=60).map("".join) | st.text(max_size=100))
def test_any_page_is_a_profile_or_an_explanation(html: str) -> None:
    try:
        suggestion = suggest_profile(html, "https://ramp.example/new")
    except ProfileError:
        return
    assert suggestion.listing.photos


@pytest.mark.slow
@pytest.mark.browser
def test_a_site_is_described_and_crawled_without_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serve(SampleSite(photos=12, per_page=6)) as base:
        url = f"{base}/photos/latest"
        dry = CliRunner().invoke(app, ["site", "init", url, "--dry-run"])
        assert dry.exit_code == 0, dry.output
        assert "6 photos on 6 cards." in dry.output
        assert list(tmp_path.iterdir()) == []
        done = CliRunner().invoke(app, ["site", "init", url, "--out", "mine.toml", "--name", "mine"])
        assert done.exit_code == 0, done.output
        assert "planespotter scrape --site mine.toml --dry-run" in done.output
        again = CliRunner().invoke(app, ["site", "init", url, "--out", "mine.toml"])
        assert again.exit_code == 2
        result = scrape("mine.toml", tmp_path / "out", constructors=None)
    assert (result.pages, result.stored, result.incomplete) == (2, 12, [])
    expected = {f"mine-{photo.photo_id}": photo for photo in SampleSite(photos=12).collection}
    for row in catalog.read(tmp_path / "out").to_dict("records"):
        photo = expected[row["photo_id"]]
        assert (row["aircraft_type"], row["registration"]) == (photo.aircraft_type, photo.registration)
        assert row["photographer"] == photo.photographer


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["https://ramp.example/new"], "its operators must be able to reach you. Pass --contact"),
        (["ftp://ramp.example"], "is not the URL of a site"),
        (["nowhere.html"], "nowhere.html cannot be read: No such file or directory"),
    ],
)
def test_a_site_that_cannot_be_opened_is_explained(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["site", "init", *arguments])
    assert isinstance(done.exception, ScrapeError)
    assert words in str(done.exception)


# ---- sites of installed packages


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that brings sites, installed as pip does: one described by a profile, and two that are broken."""
    (tmp_path / "ramp_sites.py").write_text(
        "from pathlib import Path\nPROFILE = Path(__file__).with_name('ramp.toml')\nNUMBER = 3\n"
    )
    (tmp_path / "ramp.toml").write_text(
        'name = "ramp"\nfirst_page = "https://ramp.example/new"\ncard = "li"\n[fields]\nimage_url = "img"\n'
    )
    info = tmp_path / "ramp_sites-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ramp-sites\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[planespotter.sites]\nramp = ramp_sites:PROFILE\nnumber = ramp_sites:NUMBER\ngone = ramp_sites:GONE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_installed_package_brings_a_site(install: Path) -> None:
    site = get_site("ramp")
    assert isinstance(site, Site)
    assert (site.name, site.url) == ("ramp", "https://ramp.example")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("number", "The site 'number' of the package ramp-sites is a int, not a site or the path of a profile"),
        ("gone", "The site 'gone' of the package ramp-sites cannot be loaded: .* Update or remove the package"),
        ("unknown", "Choose one of: sample, planespotters, commons, gone, number, ramp; or describe it in a file"),
    ],
)
def test_a_broken_site_of_a_package_is_explained(install: Path, name: str, words: str) -> None:
    with pytest.raises(ScrapeError, match=words):
        get_site(name)
