"""Site profiles: a site that a TOML file describes is crawled, and invalid profiles are explained."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling.crawl import get_site, scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sample_site.server import SampleSite, serve
from planespotter_scraping.sites.profile import ProfileError, load_profile

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "site.toml"
MINIMAL = """
name = "mine"
first_page = "https://photos.test/latest?sort=new"
card = "li.photo"
[fields]
image_url = "img"
page_url = "a"
aircraft_type = "h3"
registration = { selector = "p", pattern = "Reg: (\\\\S+)" }
"""
PAGE = """
<ul><li class=photo><a href="/p/77"><img data-src="/i/77.jpg"></a><h3>Boeing 737-8AS</h3><p>Reg: EI-DAC</p></li>
<li class=photo><a href="/p/78"><img src="/i/78.jpg"></a><h3>A320-214</h3></li></ul>
"""


def profile(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.browser
def test_example_profile_crawls_a_site_without_code(tmp_path: Path) -> None:
    with serve(SampleSite(photos=12, per_page=6)) as base:
        path = profile(tmp_path, EXAMPLE.read_text().replace("http://127.0.0.1:8000", base))
        dry = CliRunner().invoke(app, ["scrape", "--dry-run", "--site", str(path)])
        assert dry.exit_code == 0, dry.output
        assert "6 photos on 6 cards" in dry.output
        result = scrape(path, tmp_path / "out", constructors=None)
    assert (result.pages, result.stored, result.incomplete) == (2, 12, [])
    expected = {f"my-site-{photo.photo_id}": photo for photo in SampleSite(photos=12).collection}
    for row in catalog.read(tmp_path / "out").to_dict("records"):
        photo = expected[row["photo_id"]]
        assert row["aircraft_type"] == photo.aircraft_type
        assert (row["registration"], row["taken_on"]) == (photo.registration, photo.taken_on)
        assert row["photographer"] == photo.photographer


def test_example_profile_is_the_one_in_the_docs() -> None:
    assert EXAMPLE.read_text() in (EXAMPLE.parents[1] / "docs" / "collecting.md").read_text()


def test_fields_are_read_by_selector_pattern_and_default(tmp_path: Path) -> None:
    site = load_profile(profile(tmp_path, MINIMAL))
    listing = site.parse(PAGE, "https://photos.test/latest")
    first, second = listing.photos
    assert (first["photo_id"], first["page_url"]) == ("77", "https://photos.test/p/77")
    assert first["image_url"] == "https://photos.test/i/77.jpg"
    assert (first["constructor"], first["aircraft_type"]) == ("Boeing", "Boeing 737-8AS")
    assert first["registration"] == "EI-DAC"
    assert (second["constructor"], second["registration"]) == ("Airbus", "")
    assert listing.missing == {"registration": {"not on the card": 1}}
    assert (site.url, site.first_path) == ("https://photos.test", "/latest?sort=new")
    assert site.pages_per_minute == 6


def test_live_profile_requires_a_contact(tmp_path: Path) -> None:
    with pytest.raises(ScrapeError, match="The site mine is live"):
        scrape(profile(tmp_path, MINIMAL), tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('card = "li.photo"', "", "lacks card. Required are name, first_page, card, fields"),
        ('card = "li.photo"', 'card = "li["', r"card in .* is not a CSS selector: 'li\['"),
        ("https://photos.test", "photos.test", "is not a URL"),
        ('"mine"', '"my site"', "name in .* is invalid"),
        ("image_url = ", "picture = ", "The field picture in .* is unknown. Known are photo_id"),
        ('image_url = "img"', "", "lacks the field image_url"),
        ("selector = ", "css = ", "registration.css in .* is unknown. Known are selector"),
        ("Reg: (", "Reg: ((", "registration.pattern in .* is not a regular expression"),
        ("[fields]", "kind = 1\n[fields]", "kind in .* is unknown"),
        ("[fields]", 'pages_per_minute = "6"\n[fields]', "pages_per_minute in .* is invalid: '6'. Give a number"),
        ("[fields]", "[fields", "is not valid TOML"),
    ],
)
def test_invalid_profile_is_explained(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ProfileError, match=words):
        load_profile(profile(tmp_path, MINIMAL.replace(old, new)))


def test_profile_may_not_take_the_name_of_a_built_in_site(tmp_path: Path) -> None:
    with pytest.raises(ScrapeError, match="that of a built-in site"):
        get_site(profile(tmp_path, MINIMAL.replace('"mine"', '"commons"')))
    with pytest.raises(ScrapeError, match=r"cannot be read: No such file"):
        get_site(tmp_path / "nowhere.toml")
