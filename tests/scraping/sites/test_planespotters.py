"""Parser of planespotters.net: all three markup generations, on replicas written for the tests."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import NOT_ON_CARD, ONLY_IN_URL, planespotters
from planespotter_scraping.sites.html_tree import attribute
from planespotter_scraping.sites.planespotters import FIELDS, Card, parse
from planespotter_scraping.sites.slugs import squash

URL = "https://photos.test/photos/latest?page=2"

# Cards of all replicas: photo id, slug, and the labels in the spelling of the card.
AIRCRAFT = [
    ("1910899", "n935at-delta-air-lines-boeing-717-231", "N935AT", "Delta Air Lines", "Boeing", "717-231"),
    ("1910871", "oe-lax-swiftair-airbus-a321-211-p2f", "OE-LAX", "Swiftair", "Airbus", "A321-211(P2F)"),
    ("1910902", "a6-edf-emirates-airbus-a380-861", "A6-EDF", "Emirates", "Airbus", "A380-861"),
]
Labels = tuple[str, str, str, str, str, str]


def links_of(labels: Labels) -> dict[str, str]:
    """Links of a card, by field."""
    _, _, registration, airline, constructor, aircraft_type = labels
    return {
        "registration": f'<a href="/photos/reg/{registration}">{registration}</a>',
        "airline": f'<a href="/airline/{airline.replace(" ", "-")}">{airline}</a>',
        "constructor": f'<a href="/photos/manufacturer/{constructor}" '
        f'title="Search for Manufacturer: {constructor}">{constructor}</a>',
        "aircraft_type": f'<a href="/photos/aircraft/{constructor}/{aircraft_type[:4]}" '
        f'title="Search for Aircraft Type: {aircraft_type}">{aircraft_type}</a>',
        "airport": '<a href="/photos/airport/Paro-PBH-VQPR" title="Paro (PBH / VQPR)">PBH</a>',
        "day": '<a href="/photos/date/2026/06/30">30</a>',
        "month": '<a href="/photos/date/2026/06">June</a>',
        "year": '<a href="/photos/date/2026">2026</a>',
    }


def card_of_today(labels: Labels, links: list[str], slug: str | None = None) -> str:
    return (
        f'<div class="flex photo-card-clickable" id="{labels[0]}" '
        f'data-photo-url="/photo/{labels[0]}/{labels[1] if slug is None else slug}?from=list">'
        f'<img src="data:image/gif;base64,R0" srcset="https://cdn.test/1/{labels[0]}_ab_t.jpg 200w, '
        f'https://cdn.test/1/{labels[0]}_ab_280.jpg 420w"><div class="drop-shadow-lg">© Tenzin W.</div>'
        f"{''.join(links)}</div>"
    )


def card_of_2023(labels: Labels, links: list[str]) -> str:
    photo_id, slug, _, airline, constructor, aircraft_type = labels
    return (
        f'<a href="/photo/{photo_id}/{slug}"><div class="photo_card"><div class="photo_card__header">'
        f'<img class="photo_card__photo" src="https://cdn.test/1/{photo_id}_ab_280.jpg"></div>'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">© Tenzin W.</span><br>{airline}<br>'
        f"{constructor} {aircraft_type}<br>Paro (PBH / VQPR)</div></div></a>"
    )


def card_of_2020(labels: Labels, links: list[str]) -> str:
    return (
        f'<div id="{labels[0]}"><a href="/photo/{labels[0]}/{labels[1]}"><img class="photo__intrinsic_item" '
        f'src="https://cdn.test/2/x_y_{labels[0]}_ab.jpg"></a><p>© Tenzin W.</p>{"".join(links)}</div>'
    )


def page(cards: str) -> str:
    return (
        f'<!doctype html><html><body><header><a href="/photos/latest">Latest</a></header><main id="content">{cards}'
        '</main><nav><a href="?page=1">1</a><a href="?page=3">3</a><a href="?page=9">9</a></nav></body></html>'
    )


def full_page(card: Callable[[Labels, list[str]], str]) -> str:
    # The links of the second card are in another order.
    return page(
        "".join(
            card(labels, list(links_of(labels).values())[:: 1 - 2 * (labels is AIRCRAFT[1])]) for labels in AIRCRAFT
        )
    )


def page_of_2023(labelss: list[Labels]) -> str:
    """A page whose cards are links directly in a grid."""
    cards = ""
    for photo_id, slug, _, airline, constructor, aircraft_type in labelss:
        cards += (
            f'<a href="/photo/{photo_id}/{slug}"><img class="photo_card__photo" src="/1/{photo_id}_ab_280.jpg">'
            f'<div class="photo_card__data"><span class="photo_card__data_photographer">Tenzin W.</span><br>{airline}'
            f"<br>{constructor} {aircraft_type}<br>Paro (PBH / VQPR)</div></a>"
        )
    return page(f'<div class="photo_card__grid">{cards}</div>')


GENERATIONS = {
    "today": full_page(card_of_today),
    "of 2023": full_page(card_of_2023),
    "of 2023, a grid of links": page_of_2023(AIRCRAFT),
    "of 2020": full_page(card_of_2020),
}


@pytest.mark.parametrize("name", GENERATIONS)
def test_each_markup_generation_is_parsed(name: str) -> None:
    listing = parse(GENERATIONS[name], URL)
    assert [photo["photo_id"] for photo in listing.photos] == [labels[0] for labels in AIRCRAFT]
    for photo, labels in zip(listing.photos, AIRCRAFT, strict=True):
        assert set(photo) == set(FIELDS)
        assert photo["airline"] == labels[3]
        assert photo["constructor"] == labels[4]
        assert photo["aircraft_type"] == labels[5]
        assert photo["registration"] == labels[2]
        assert photo["photographer"] == "Tenzin W."
        assert photo["page_url"].startswith(f"https://photos.test/photo/{labels[0]}/{labels[1]}")
        assert labels[0] in photo["image_url"]
        assert photo["image_url"].startswith("https://")
    assert listing.next_url == "https://photos.test/photos/latest?page=3"
    assert listing.last_page == 9
    assert listing.cards == listing.probe_matches[listing.markup] == len(AIRCRAFT)


def test_another_markup_generation_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def cards_of_2027(root: LexborNode) -> list[Card]:
        return [Card(node, attribute(node, "ref")) for node in root.css("photo-card")]

    monkeypatch.setattr(planespotters, "GENERATIONS", (cards_of_2027, *planespotters.GENERATIONS))
    links = "".join(links_of(AIRCRAFT[0]).values())
    listing = parse(f'<photo-card ref="/photo/5/{AIRCRAFT[0][1]}"><img src="/5.jpg">{links}</photo-card>', URL)
    (photo,) = listing.photos
    assert (photo["photo_id"], photo["airline"], photo["aircraft_type"]) == ("5", "Delta Air Lines", "717-231")
    assert (listing.markup, listing.probe_matches["cards_of_2027"], listing.last_page) == ("cards_of_2027", 1, None)
    assert parse(GENERATIONS["of 2020"], URL).markup == "cards_of_2020"


def test_ignored_links_are_counted_by_kind() -> None:
    links = '<a href="/operator/Druk">Druk</a><a href="/photos/airport/Paro/PBH">PBH</a><a href="http://[">x</a>'
    assert parse(card_of_today(AIRCRAFT[0], [links]), URL).unread_links == {"/operator/": 1, "/photos/airport/": 1}


def test_three_links_of_a_date_give_one_date() -> None:
    assert {photo["taken_on"] for photo in parse(GENERATIONS["today"], URL).photos} == {"2026-06-30"}


def test_complete_cards_that_agree_with_their_urls_need_no_review() -> None:
    for name in ("today", "of 2020"):
        listing = parse(GENERATIONS[name], URL)
        assert {photo["review"] for photo in listing.photos} == {""}
        assert not listing.missing


def test_largest_image_candidate_is_selected() -> None:
    assert parse(GENERATIONS["today"], URL).photos[0]["image_url"] == "https://cdn.test/1/1910899_ab_280.jpg"


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ('<img src="/s.jpg">', "/s.jpg"),
        ('<img src="data:image/gif;base64,R0" data-src="/l.jpg">', "/l.jpg"),
        ('<img src="/stand-in.gif" data-lazy-src="/l.jpg">', "/l.jpg"),
        ('<img src="/s.jpg" srcset="/s.jpg, /m.jpg 1.5x, /l.jpg 2x">', "/l.jpg"),
        ('<img src="/s.jpg" data-srcset="/l,1.jpg 900w,/m.jpg 400w">', "/l,1.jpg"),
        ('<picture><source srcset="/1_l.jpg 9w"><img src="/avatar.jpg"></picture>', "/1_l.jpg"),
        ('<img src="/avatar.jpg"><img src="/1_s.jpg">', "/1_s.jpg"),
        ('<img alt="">', ""),
    ],
)
def test_image_url_is_read_from_any_attribute(image: str, path: str) -> None:
    (photo,) = parse(f'<div id="1" data-photo-url="/photo/1/x">{image}</div>', URL).photos
    assert photo["image_url"] == (f"https://photos.test{path}" if path else "")


def test_missing_fields_are_empty_and_have_a_reason() -> None:
    listing = parse('<div id="7" data-photo-url="/photo/7/"></div><div data-photo-url="/elsewhere"></div>', URL)
    assert {name for name, value in listing.photos[0].items() if value} == {"photo_id", "page_url"}
    assert listing.missing["airline"] == {NOT_ON_CARD: 2}
    assert listing.missing["image_url"] == {"no image": 2}
    assert listing.missing["photo_id"] == {"neither an id nor a URL with one": 1}


def test_card_without_id_takes_it_from_its_url() -> None:
    (photo,) = parse('<div data-photo-url="/photo/12/x"></div>', URL).photos
    assert photo["photo_id"] == "12"


def test_card_takes_precedence_over_its_url_and_differences_go_to_review() -> None:
    links = list(links_of(AIRCRAFT[0]).values())
    (photo,) = parse(card_of_today(AIRCRAFT[0], links, "n935at-delta-air-lines-boeing-737-832"), URL).photos
    assert photo["aircraft_type"] == "717-231"
    assert photo["review"] == "aircraft_type: card 717-231, URL 737-832"


def test_card_without_labels_takes_them_from_its_url_and_records_it() -> None:
    listing = parse(card_of_today(AIRCRAFT[1], []), URL)
    (photo,) = listing.photos
    assert (photo["registration"], photo["constructor"]) == ("OE-LAX", "Airbus")
    assert photo["aircraft_type"] == "A321-211-P2F"
    assert photo["airline"] == ""
    assert "airline: only in the URL: Swiftair" in photo["review"]
    assert listing.missing["constructor"] == {f"{NOT_ON_CARD}; taken from the URL": 1}
    assert listing.missing["airline"] == {ONLY_IN_URL: 1}


def test_of_several_links_the_one_that_the_url_confirms_is_taken() -> None:
    links = links_of(AIRCRAFT[0])
    two = [*links.values(), '<a href="/airline/Delta-Connection">Delta Connection</a>']
    for order in (two, two[::-1]):
        assert parse(card_of_today(AIRCRAFT[0], order), URL).photos[0]["airline"] == "Delta Air Lines"
    listing = parse(card_of_today(AIRCRAFT[0], two, slug=""), URL)
    assert listing.photos[0]["airline"] == ""
    assert listing.missing["airline"] == {"several values on the card": 1}


def test_card_of_2023_without_an_airline_does_not_take_the_next_text() -> None:
    labels = ("5", "ei-abc-boeing-737-8as", "EI-ABC", "", "Boeing", "737-8AS")
    html = page_of_2023([labels]).replace("Paro (PBH / VQPR)", "Paro")
    (photo,) = parse(html, URL).photos
    assert (photo["airline"], photo["constructor"], photo["aircraft_type"]) == ("", "Boeing", "737-8AS")
    assert photo["registration"] == "EI-ABC"


def test_last_page_has_no_next_url() -> None:
    assert parse(GENERATIONS["today"], URL.replace("2", "9")).next_url is None
    assert parse('<a rel="next" href="/more">', URL).next_url == "https://photos.test/more"
    assert parse('<a href="?page=3">', URL).last_page is None  # more pages may follow the next one


CARDS = {"today": card_of_today, "of 2020": card_of_2020}


@given(
    st.sampled_from(sorted(CARDS)),
    st.sampled_from(AIRCRAFT),
    st.sets(st.sampled_from(sorted(links_of(AIRCRAFT[0])))),
    st.randoms(use_true_random=False),
)
def test_missing_or_reordered_links_shift_no_label(
    generation: str, labels: Labels, present: set[str], shuffle: random.Random
) -> None:
    links = [link for name, link in links_of(labels).items() if name in present]
    expected = parse(CARDS[generation](labels, links), URL)
    shuffle.shuffle(links)
    listing = parse(CARDS[generation](labels, links), URL)
    assert listing == expected
    (photo,) = listing.photos
    labels_on_card = dict(zip(("registration", "airline", "constructor", "aircraft_type"), labels[2:], strict=True))
    for name, value in labels_on_card.items():
        assert photo[name] == value if name in present else squash(photo[name]) in ("", squash(value))
        if name not in present and name != "airline":
            assert name in listing.missing or (name == "constructor" and "aircraft_type" in present)
    assert ": card " not in photo["review"]


ATTRIBUTES = (
    "",
    "id=1",
    "id=٣",
    "data-photo-url=/photo/1/ei-abc-boeing-737",
    "data-photo-url='//['",
    "class=photo_card",
    "class='photo_card__data photo_card__grid'",
    "class=photo__intrinsic_item",
    "class=photo_card__data_photographer",
    "href='http://['",
    "href=/airline/%ff",
    "href=/photos/aircraft/",
    "href=/photos/date/2026",
    "href='?page=3' rel=next",
    "srcset=',, 1x, a 9999w'",
    "src=a",
)
TAG = st.builds(
    "<{}{} {}>".format,
    st.sampled_from(["", "/"]),
    st.sampled_from(["a", "div", "img", "p", "script", "source"]),
    st.sampled_from(ATTRIBUTES),
)
ANYTHING = st.lists(TAG | st.sampled_from(["Boeing 737-8AS", "© x", "<![foo[", "<!", "&#xD800;", "<"]) | st.text())


@given(ANYTHING.map("".join), st.text() | st.just(URL))
def test_any_text_is_parsed_without_an_error(html: str, url: str) -> None:
    listing = parse(html, url)
    for photo in listing.photos:
        assert set(photo) == set(FIELDS)
        assert photo["photo_id"].isascii()
        assert photo["photo_id"].isdecimal()


def test_deeply_nested_page_is_parsed() -> None:
    html = "<div>" * 5000 + card_of_today(AIRCRAFT[0], list(links_of(AIRCRAFT[0]).values()))
    assert parse(html, URL).photos[0]["airline"] == "Delta Air Lines"
