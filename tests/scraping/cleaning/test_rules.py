"""The rules by which photos are dropped: what each drops, what it leaves, and what it says."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.cleaning import rules
from planespotter_scraping.cleaning.rules import Options, Photo
from planespotter_scraping.images.similarity import Alike, Look

NUMBERS = count(1)


def photo(name: str, look: Look | None = None, size: int = 50_000, **row: str) -> Photo:
    look = look or Look(sha256=name, width=420, height=280, contrast=40.0, phash="0123456789abcdef")
    return Photo({"photo_id": name, "source": "site", **row}, next(NUMBERS), size, look)


def sized(width: int, height: int, contrast: float = 40.0) -> Look:
    return Look(sha256=f"{width}x{height}", width=width, height=height, contrast=contrast, phash="0123456789abcdef")


@pytest.mark.parametrize(
    ("rule", "dropped", "because"),
    [
        ("broken", photo("a", Look(broken="the file is empty")), "Its image cannot be used: the file is empty."),
        ("small", photo("a", sized(200, 133)), "Its smaller side has 133 pixels, fewer than 192."),
        ("shape", photo("a", sized(1000, 300)), "It is 1000 x 300 pixels, and one side is over 3 times the other."),
        ("shape", photo("a", sized(200, 700)), "It is 200 x 700 pixels, and one side is over 3 times the other."),
        ("placeholder", photo("a", size=812), "Its file has 812 bytes, fewer than 2000."),
        ("placeholder", photo("a", sized(420, 280, contrast=0.4)), "It is a picture of one colour."),
        ("caption", photo("a", caption="A320 cockpit"), "Its caption says 'cockpit', so it may show the cockpit."),
    ],
)
def test_a_rule_says_why_it_drops_a_photo_and_leaves_the_usual_ones(rule: str, dropped: Photo, because: str) -> None:
    usual = [photo("usual"), photo("portrait", sized(280, 420)), photo("square", sized(192, 192))]
    assert rules.ALONE[rule]([*usual, dropped], Options()) == {"a": because}


@pytest.mark.parametrize("rule", ["small", "shape", "placeholder"])
def test_limits_of_zero_drop_nothing(rule: str) -> None:
    options = Options(smallest_side=0, largest_aspect=0, smallest_file=0, placeholder_ids=0)
    photos = [photo(str(number), sized(10, 100), size=1) for number in range(9)]
    assert rules.ALONE[rule](photos, options) == {}


@pytest.mark.parametrize("rule", ["small", "shape", "placeholder"])
def test_a_broken_image_is_only_called_broken(rule: str) -> None:
    assert rules.ALONE[rule]([photo("a", Look(broken="it is not a whole image"), size=0)], Options()) == {}


def test_a_file_that_many_photos_of_a_source_share_is_a_placeholder() -> None:
    same = sized(420, 280)
    photos = [photo(str(number), same) for number in range(4)]
    others = [photo(f"other-{number}", same, source="other") for number in range(3)]
    found = rules.placeholder([*photos, *others], Options())
    assert set(found) == {"0", "1", "2", "3"}
    assert found["0"] == "One and the same file stands for 4 photos of site: a placeholder."
    assert rules.placeholder([*photos, *others], Options(placeholder_ids=4)) == {}


def test_of_exact_copies_the_one_that_says_most_stays_and_then_the_oldest() -> None:
    same = sized(420, 280)
    photos = [
        photo("late", same, constructor="Airbus", airline="Air", scraped_at="2026-02-01"),
        photo("early", same, constructor="Airbus", airline="Air", scraped_at="2026-01-01"),
        photo("poor", same, constructor="Airbus", scraped_at="2025-01-01"),
        photo("another", constructor="Airbus"),
    ]
    dropped, conflicts = rules.exact(photos, Options())
    assert dropped == {
        "late": "It is the same file as early, which was there first.",
        "poor": "It is the same file as early, which says more.",
    }
    assert conflicts == []


def test_copies_with_different_labels_stay_and_are_to_be_reviewed() -> None:
    same = sized(420, 280)
    one = photo("one", same, constructor="Airbus", family="A320", registration="D-AIZC")
    two = photo("two", same, constructor="Boeing", family="737")
    agreeing = photo("three", same, constructor="Airbus", registration="daizc")
    assert rules.exact([one, two, agreeing], Options()) == (
        {"three": "It is the same file as one, which says more."},
        [(one, two, "constructor")],
    )


@pytest.mark.parametrize(
    ("one", "other", "column"),
    [
        ({"model": "A320-200"}, {"model": "A320neo"}, "model"),
        ({"model": "A320-200"}, {"model": ""}, None),
        ({"registration": "D-ABCD"}, {"registration": "D-ABCE"}, "registration"),
        ({"airline": "Lufthansa"}, {"airline": "Lufthansa CityLine"}, None),
        ({"aircraft_type": "737 NG"}, {"aircraft_type": "737 MAX"}, "aircraft_type"),
        ({"aircraft_type": "A320"}, {"aircraft_type": "Airbus A320"}, None),
        ({"aircraft_type": "737-8AS", "model": "737-800"}, {"aircraft_type": "737-800", "model": "737-800"}, None),
    ],
)
def test_labels_that_differ_in_spelling_or_depth_do_not_conflict(
    one: dict[str, str], other: dict[str, str], column: str | None
) -> None:
    photos = [photo("one", None, 50_000, **one), photo("other", None, 50_000, **other)]
    dropped, conflicts = rules.near(photos, [Alike(0, 1, 2, 0.995)])
    assert [column for _, _, column in conflicts] == ([column] if column else [])
    assert len(dropped) == (column is None)


def test_of_near_duplicates_the_largest_stays_then_the_one_that_says_most() -> None:
    photos = [
        photo("thumbnail", sized(200, 133), constructor="Airbus", airline="Air"),
        photo("large", sized(1200, 800)),
        photo("labelled", sized(1200, 800), constructor="Airbus"),
    ]
    dropped, _ = rules.near(photos, [Alike(0, 1, 2, 0.9931), Alike(0, 2, 0, 0.999), Alike(1, 2, 1, 0.9988)])
    assert dropped == {
        "large": "It is a near duplicate of labelled (1 of 64 bits differ, 99.9% of the detail agrees), "
        "which says more.",
        "thumbnail": "It is a near duplicate of labelled (0 of 64 bits differ, 99.9% of the detail agrees), "
        "which is larger: 1200 x 800.",
    }


def test_a_photo_stays_if_what_it_is_like_was_dropped_itself() -> None:
    # b is like a and like c, and a is not like c: without b, both stay.
    photos = [photo("a", sized(1200, 800)), photo("b", sized(1000, 700)), photo("c", sized(900, 600))]
    dropped, _ = rules.near(photos, [Alike(0, 1, 2, 0.995), Alike(1, 2, 2, 0.995)])
    assert set(dropped) == {"b"}


def test_caps_are_off_until_asked_for_and_leave_photos_without_a_name() -> None:
    photos = [photo(str(number), registration="", airline="", model="") for number in range(5)]
    named = [photo(f"n{number}", registration="D-AIZC", airline="Air", model="A380") for number in range(5)]
    for name, rule in rules.CAPS.items():
        assert rule([*photos, *named], Options()) == {}
        option = {"airframe": "per_airframe", "airline": "per_airline", "model": "per_model"}[name]
        found = rule([*photos, *named], Options(**{option: 2}))  # type: ignore[arg-type]
        assert len(found) == 3
        assert set(found) < {row.name for row in named}


def test_a_registration_counts_however_it_is_written() -> None:
    photos = [photo("1", registration="D-AIZC"), photo("2", registration="daizc"), photo("3", registration="D AIZC")]
    found = rules.airframe(photos, Options(per_airframe=1))
    assert len(found) == 2
    assert set(found.values()) == {"There are 3 photos of DAIZC, and --per-airframe keeps 1 of them."}


@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    most=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_a_cap_takes_the_same_photos_in_any_order_and_is_fair_to_the_sources(
    sizes: list[int], most: int, order: object
) -> None:
    photos = [
        photo(f"{source}-{number}", source=str(source), airline="Air")
        for source, size in enumerate(sizes)
        for number in range(size)
    ]
    shuffled = list(photos)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    dropped = rules.airline(photos, Options(per_airline=most))
    assert rules.airline(shuffled, Options(per_airline=most)).keys() == dropped.keys()
    kept = Counter(row.says("source") for row in photos if row.name not in dropped)
    assert kept.total() == min(most, sum(sizes))
    for source, size in enumerate(sizes):  # a source that had to give one up has about as many as any other
        if kept[str(source)] < size:
            assert all(kept[str(other)] <= kept[str(source)] + 1 for other in range(len(sizes)))
