"""Parser of the sample site: each field by its link, never by position."""

from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.sites.sample import FIELDS, parse

URL = "http://127.0.0.1:8000/photos/latest?page=2"

# A page after the site's script has run: the first card has all fields, the second lacks the airline and its image has
# been loaded, the third lacks airline and type.
PAGE = """<!doctype html><html><body><header><a class="brand" href="/photos/latest">Apron</a></header>
<main id="content" aria-busy="false">
<article class="plate" id="1003597" data-photo-url="/photo/1003597/hs-oixr-orchid-pacific-airbus-a330-302">
<a href="/photo/1003597/hs-oixr"><img data-src="/images/1003597.jpg" loading="lazy" alt="" width="320"></a>
<dl><dt>Airline</dt><dd><a href="/airline/Orchid%20Pacific" title="More">Orchid Pacific</a></dd>
<dt>Maker</dt><dd><a href="/photos/manufacturer/Airbus" title="Photos by maker: Airbus">Airbus</a></dd>
<dt>Type</dt><dd><a href="/photos/aircraft/Airbus/A330-302" title="Photos by type">A330-302</a></dd>
<dt>Registration</dt><dd><a href="/photos/reg/HS-OIXR">HS-OIXR</a></dd></dl>
<footer><span class="credit">© D. Marchetti</span> · <a href="/photos/date/2026-06-30">2026-06-30</a></footer></article>
<article class="plate" id="1003592" data-photo-url="/photo/1003592/ei-tjvp-boeing-737-8as">
<a href="/photo/1003592/ei"><img src="http://127.0.0.1:8000/images/1003592.jpg" loading="lazy" alt=""></a>
<dl><dt>Maker</dt><dd><a href="/photos/manufacturer/Boeing">Boeing</a></dd>
<dt>Type</dt><dd><a href="/photos/aircraft/Boeing/737-8AS">737-8AS</a></dd>
<dt>Registration</dt><dd><a href="/photos/reg/EI-TJVP">EI-TJVP</a></dd></dl>
<footer><span class="credit">© C. &amp; E. Lindqvist</span></footer></article>
<article class="plate" id="1003583" data-photo-url="/photo/1003583/x">
<dl><dt>Maker</dt><dd><a href="/photos/manufacturer/Boeing">Boeing</a></dd></dl></article>
</main>
<nav id="pages"><a href="/photos/latest?page=1" rel="prev">Newer</a>
<a href="/photos/latest?page=3" rel="next">Older</a></nav></body></html>"""


def test_complete_card_gives_all_fields() -> None:
    assert parse(PAGE, URL).photos[0] == {
        "photo_id": "1003597",
        "page_url": "http://127.0.0.1:8000/photo/1003597/hs-oixr-orchid-pacific-airbus-a330-302",
        "image_url": "http://127.0.0.1:8000/images/1003597.jpg",
        "photographer": "D. Marchetti",
        "airline": "Orchid Pacific",
        "constructor": "Airbus",
        "aircraft_type": "A330-302",
        "registration": "HS-OIXR",
        "taken_on": "2026-06-30",
    }


def test_missing_airline_shifts_no_other_field() -> None:
    photo = parse(PAGE, URL).photos[1]
    assert (photo["airline"], photo["constructor"], photo["aircraft_type"]) == ("", "Boeing", "737-8AS")
    assert photo["image_url"] == "http://127.0.0.1:8000/images/1003592.jpg"
    assert photo["photographer"] == "C. & E. Lindqvist"


def test_missing_fields_are_empty() -> None:
    photo = parse(PAGE, URL).photos[2]
    assert {name for name, value in photo.items() if value} == {"photo_id", "page_url", "constructor"}


def test_next_page_is_the_linked_one() -> None:
    assert parse(PAGE, URL).next_url == "http://127.0.0.1:8000/photos/latest?page=3"
    assert parse(PAGE.replace('rel="next"', ""), URL).next_url is None


def test_card_without_a_numeric_id_is_skipped() -> None:
    assert len(parse(PAGE.replace('id="1003592"', 'id="advert"'), URL).photos) == 2


TAGS = ["<article data-photo-url='/photo/1' id=1>", "</article>", "<a href='/airline/x'>", "</a>", "<img src=a>"]


@given(
    st.lists(st.sampled_from([*TAGS, "<a rel=next href=b>", "text", "<", "&", "<article>"])).map("".join) | st.text()
)
def test_any_text_is_parsed_without_an_error(html: str) -> None:
    for photo in parse(html, URL).photos:
        assert set(photo) == set(FIELDS)
