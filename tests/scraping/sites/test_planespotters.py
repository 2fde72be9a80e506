"""Reading planespotters.net's lists, of today and of two earlier kinds of markup, on replicas written for the tests."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import ONLY_IN_URL, planespotters
from planespotter_scraping.sites.html_tree import attribute
from planespotter_scraping.sites.planespotters import FIELDS, Card, parse
from planespotter_scraping.sites.slugs import squash

URL = "https://photos.test/photos/latest?page=2"

# What the cards of all three replicas show: photo id, slug, and the labels in the spelling of the card.
BIRDS = [
    ("1910899", "n935at-delta-air-lines-boeing-717-231", "N935AT", "Delta Air Lines", "Boeing", "717-231"),
    ("1910871", "oe-lax-swiftair-airbus-a321-211-p2f", "OE-LAX", "Swiftair", "Airbus", "A321-211(P2F)"),
    ("1910902", "a6-edf-emirates-airbus-a380-861", "A6-EDF", "Emirates", "Airbus", "A380-861"),
]
Bird = tuple[str, str, str, str, str, str]


def links_of(bird: Bird) -> dict[str, str]:
    """The links of a card, by what each says."""
    _, _, registration, airline, constructor, aircraft_type = bird
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


def card_of_today(bird: Bird, links: list[str], slug: str | None = None) -> str:
    return (
        f'<div class="flex photo-card-clickable" id="{bird[0]}" '
        f'data-photo-url="/photo/{bird[0]}/{bird[1] if slug is None else slug}?from=list">'
        f'<img src="data:image/gif;base64,R0" srcset="https://cdn.test/1/{bird[0]}_ab_t.jpg 200w, '
        f'https://cdn.test/1/{bird[0]}_ab_280.jpg 420w"><div class="drop-shadow-lg">© Tenzin W.</div>'
        f"{''.join(links)}</div>"
    )


def card_of_2023(bird: Bird, links: list[str]) -> str:
    photo_id, slug, _, airline, constructor, aircraft_type = bird
    return (
        f'<a href="/photo/{photo_id}/{slug}"><div class="photo_card"><div class="photo_card__header">'
        f'<img class="photo_card__photo" src="https://cdn.test/1/{photo_id}_ab_280.jpg"></div>'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">© Tenzin W.</span><br>{airline}<br>'
        f"{constructor} {aircraft_type}<br>Paro (PBH / VQPR)</div></div></a>"
    )


def card_of_2020(bird: Bird, links: list[str]) -> str:
    return (
        f'<div id="{bird[0]}"><a href="/photo/{bird[0]}/{bird[1]}"><img class="photo__intrinsic_item" '
        f'src="https://cdn.test/2/x_y_{bird[0]}_ab.jpg"></a><p>© Tenzin W.</p>{"".join(links)}</div>'
    )


def page(cards: str) -> str:
    return (
        f'<!doctype html><html><body><header><a href="/photos/latest">Latest</a></header><main id="content">{cards}'
        '</main><nav><a href="?page=1">1</a><a href="?page=3">3</a><a href="?page=9">9</a></nav></body></html>'
    )


def full_page(card: Callable[[Bird, list[str]], str]) -> str:
    # In the middle one, the links come in another order.
    return page("".join(card(bird, list(links_of(bird).values())[:: 1 - 2 * (bird is BIRDS[1])]) for bird in BIRDS))


def page_of_2023(birds: list[Bird]) -> str:
    """Cards are links that stand directly in the grid."""
    cards = ""
    for photo_id, slug, _, airline, constructor, aircraft_type in birds:
        cards += (
            f'<a href="/photo/{photo_id}/{slug}"><img class="photo_card__photo" src="/1/{photo_id}_ab_280.jpg">'
            f'<div class="photo_card__data"><span class="photo_card__data_photographer">Tenzin W.</span><br>{airline}'
            f"<br>{constructor} {aircraft_type}<br>Paro (PBH / VQPR)</div></a>"
        )
    return page(f'<div class="photo_card__grid">{cards}</div>')


GENERATIONS = {
    "today": full_page(card_of_today),
    "of 2023": full_page(card_of_2023),
    "of 2023, a grid of links": page_of_2023(BIRDS),
    "of 2020": full_page(card_of_2020),
}


@pytest.mark.parametrize("name", GENERATIONS)
def test_each_generation_of_the_markup_is_read(name: str) -> None:
    listing = parse(GENERATIONS[name], URL)
    assert [photo["photo_id"] for photo in listing.photos] == [bird[0] for bird in BIRDS]
    for photo, bird in zip(listing.photos, BIRDS, strict=True):
        assert set(photo) == set(FIELDS)
        assert photo["airline"] == bird[3]
        assert photo["constructor"] == bird[4]
        assert photo["aircraft_type"] == bird[5]
        assert photo["registration"] == bird[2]
        assert photo["photographer"] == "Tenzin W."
        assert photo["page_url"].startswith(f"https://photos.test/photo/{bird[0]}/{bird[1]}")
        assert bird[0] in photo["image_url"]
        assert photo["image_url"].startswith("https://")
    assert listing.next_url == "https://photos.test/photos/latest?page=3"
    assert listing.last_page == 9
    assert listing.cards == listing.matched[listing.markup] == len(BIRDS)


def test_a_further_generation_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def cards_of_2027(root: LexborNode) -> list[Card]:
        return [Card(node, attribute(node, "ref")) for node in root.css("bird-card")]

    monkeypatch.setattr(planespotters, "GENERATIONS", (cards_of_2027, *planespotters.GENERATIONS))
    links = "".join(links_of(BIRDS[0]).values())
    listing = parse(f'<bird-card ref="/photo/5/{BIRDS[0][1]}"><img src="/5.jpg">{links}</bird-card>', URL)
    (photo,) = listing.photos
    assert (photo["photo_id"], photo["airline"], photo["aircraft_type"]) == ("5", "Delta Air Lines", "717-231")
    assert (listing.markup, listing.matched["cards_of_2027"], listing.last_page) == ("cards_of_2027", 1, None)
    assert parse(GENERATIONS["of 2020"], URL).markup == "cards_of_2020"


def test_links_that_nothing_reads_are_counted_by_kind() -> None:
    links = '<a href="/operator/Druk">Druk</a><a href="/photos/airport/Paro/PBH">PBH</a><a href="http://[">x</a>'
    assert parse(card_of_today(BIRDS[0], [links]), URL).unread == {"/operator/": 1, "/photos/airport/": 1}


def test_a_date_of_three_links_is_one_date() -> None:
    assert {photo["taken_on"] for photo in parse(GENERATIONS["today"], URL).photos} == {"2026-06-30"}


def test_full_cards_whose_addresses_agree_need_no_review() -> None:
    for name in ("today", "of 2020"):
        listing = parse(GENERATIONS[name], URL)
        assert {photo["review"] for photo in listing.photos} == {""}
        assert not listing.missing


def test_the_largest_candidate_of_an_image_is_taken() -> None:
    assert parse(GENERATIONS["today"], URL).photos[0]["image_url"] == "https://cdn.test/1/1910899_ab_280.jpg"


@pytest.mark.parametrize(
    ("image", "address"),
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
def test_an_image_is_found_wherever_its_address_stands(image: str, address: str) -> None:
    (photo,) = parse(f'<div id="1" data-photo-url="/photo/1/x">{image}</div>', URL).photos
    assert photo["image_url"] == (f"https://photos.test{address}" if address else "")


def test_what_a_card_lacks_is_empty_and_has_a_reason() -> None:
    listing = parse('<div id="7" data-photo-url="/photo/7/"></div><div data-photo-url="/elsewhere"></div>', URL)
    assert {name for name, value in listing.photos[0].items() if value} == {"photo_id", "page_url"}
    assert listing.missing["airline"] == {"not on the card": 2}
    assert listing.missing["image_url"] == {"no image": 2}
    assert listing.missing["photo_id"] == {"neither an id nor an address with one": 1}


def test_a_card_without_id_takes_it_from_its_address() -> None:
    (photo,) = parse('<div data-photo-url="/photo/12/x"></div>', URL).photos
    assert photo["photo_id"] == "12"


def test_two_readings_that_differ_go_to_review_and_the_card_counts() -> None:
    links = list(links_of(BIRDS[0]).values())
    (photo,) = parse(card_of_today(BIRDS[0], links, "n935at-delta-air-lines-boeing-737-832"), URL).photos
    assert photo["aircraft_type"] == "717-231"
    assert photo["review"] == "aircraft_type: the card says 717-231, the address 737-832"


def test_a_card_without_labels_is_read_from_its_address_and_says_so() -> None:
    listing = parse(card_of_today(BIRDS[1], []), URL)
    (photo,) = listing.photos
    assert (photo["registration"], photo["constructor"]) == ("OE-LAX", "Airbus")
    assert photo["aircraft_type"] == "A321-211-P2F"
    assert photo["airline"] == ""
    assert "airline: only the address says Swiftair" in photo["review"]
    assert listing.missing["constructor"] == {"not on the card; taken from the URL": 1}
    assert listing.missing["airline"] == {ONLY_IN_URL: 1}


def test_of_several_links_of_a_kind_the_one_that_the_address_confirms_is_taken() -> None:
    links = links_of(BIRDS[0])
    two = [*links.values(), '<a href="/airline/Delta-Connection">Delta Connection</a>']
    for order in (two, two[::-1]):
        assert parse(card_of_today(BIRDS[0], order), URL).photos[0]["airline"] == "Delta Air Lines"
    listing = parse(card_of_today(BIRDS[0], two, slug=""), URL)
    assert listing.photos[0]["airline"] == ""
    assert listing.missing["airline"] == {"the card says several things": 1}


def test_an_old_card_without_an_airline_does_not_take_the_next_text_for_one() -> None:
    bird = ("5", "ei-abc-boeing-737-8as", "EI-ABC", "", "Boeing", "737-8AS")
    html = page_of_2023([bird]).replace("Paro (PBH / VQPR)", "Paro")
    (photo,) = parse(html, URL).photos
    assert (photo["airline"], photo["constructor"], photo["aircraft_type"]) == ("", "Boeing", "737-8AS")
    assert photo["registration"] == "EI-ABC"


def test_the_last_page_has_no_next_one() -> None:
    assert parse(GENERATIONS["today"], URL.replace("2", "9")).next_url is None
    assert parse('<a rel="next" href="/more">', URL).next_url == "https://photos.test/more"
    assert parse('<a href="?page=3">', URL).last_page is None  # there may be more behind the next one


CARDS = {"today": card_of_today, "of 2020": card_of_2020}


@given(
    st.sampled_from(sorted(CARDS)),
    st.sampled_from(BIRDS),
    st.sets(st.sampled_from(sorted(links_of(BIRDS[0])))),
    st.randoms(use_true_random=False),
)
def test_links_that_are_absent_or_in_another_order_shift_no_label(
    generation: str, bird: Bird, kept: set[str], shuffle: random.Random
) -> None:
    links = [link for name, link in links_of(bird).items() if name in kept]
    expected = parse(CARDS[generation](bird, links), URL)
    shuffle.shuffle(links)
    listing = parse(CARDS[generation](bird, links), URL)
    assert listing == expected
    (photo,) = listing.photos
    truth = dict(zip(("registration", "airline", "constructor", "aircraft_type"), bird[2:], strict=True))
    for name, value in truth.items():
        assert photo[name] == value if name in kept else squash(photo[name]) in ("", squash(value))
        if name not in kept and name != "airline":
            assert name in listing.missing or (name == "constructor" and "aircraft_type" in kept)
    assert "the card says" not in photo["review"]


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
def test_any_text_is_read_without_an_error(html: str, url: str) -> None:
    listing = parse(html, url)
    for photo in listing.photos:
        assert set(photo) == set(FIELDS)
        assert photo["photo_id"].isascii()
        assert photo["photo_id"].isdecimal()


def test_a_page_of_any_depth_is_read() -> None:
    html = "<div>" * 5000 + card_of_today(BIRDS[0], list(links_of(BIRDS[0]).values()))
    assert parse(html, URL).photos[0]["airline"] == "Delta Air Lines"
