"""Cleaning rules: what each drops and keeps, and its reason."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.cleaning import rules
from planespotter_scraping.cleaning.rules import Options, Photo
from planespotter_scraping.images.similarity import ImageScan, NearDuplicate

NUMBERS = count(1)


def photo(name: str, scan: ImageScan | None = None, size: int = 50_000, **row: str) -> Photo:
    scan = scan or ImageScan(sha256=name, width=420, height=280, contrast=40.0, phash="0123456789abcdef")
    return Photo({"photo_id": name, "source": "site", **row}, next(NUMBERS), size, scan)


def sized(width: int, height: int, contrast: float = 40.0) -> ImageScan:
    return ImageScan(
        sha256=f"{width}x{height}", width=width, height=height, contrast=contrast, phash="0123456789abcdef"
    )


@pytest.mark.parametrize(
    ("rule", "dropped", "reason"),
    [
        ("broken", photo("a", ImageScan(broken="the file is empty")), "Its image cannot be used: the file is empty."),
        ("small", photo("a", sized(200, 133)), "Its shorter side is 133 pixels, below 192."),
        ("aspect-ratio", photo("a", sized(1000, 300)), "It is 1000 x 300 pixels, above the ratio 3."),
        ("aspect-ratio", photo("a", sized(200, 700)), "It is 200 x 700 pixels, above the ratio 3."),
        ("placeholder", photo("a", size=812), "Its file has 812 bytes, below 2000."),
        ("placeholder", photo("a", sized(420, 280, contrast=0.4)), "It is a uniform color."),
        ("caption", photo("a", caption="A320 cockpit"), "Its caption has 'cockpit', so it may show the cockpit."),
    ],
)
def test_a_rule_drops_a_photo_with_its_reason_and_keeps_the_usual_ones(rule: str, dropped: Photo, reason: str) -> None:
    usual = [photo("usual"), photo("portrait", sized(280, 420)), photo("square", sized(192, 192))]
    assert rules.SINGLE_PHOTO_RULES[rule]([*usual, dropped], Options()) == {"a": reason}


@pytest.mark.parametrize("rule", ["small", "aspect-ratio", "placeholder"])
def test_a_limit_of_zero_is_disabled(rule: str) -> None:
    options = Options(min_side=0, max_aspect_ratio=0, min_bytes=0, placeholder_ids=0)
    photos = [photo(str(number), sized(10, 100), size=1) for number in range(9)]
    assert rules.SINGLE_PHOTO_RULES[rule](photos, options) == {}


@pytest.mark.parametrize("rule", ["small", "aspect-ratio", "placeholder"])
def test_a_broken_image_is_dropped_by_one_rule_only(rule: str) -> None:
    assert (
        rules.SINGLE_PHOTO_RULES[rule]([photo("a", ImageScan(broken="it is not a complete image"), size=0)], Options())
        == {}
    )


def test_a_file_that_many_photos_of_a_source_share_is_a_placeholder() -> None:
    same = sized(420, 280)
    photos = [photo(str(number), same) for number in range(4)]
    elsewhere = [photo(f"other-{number}", same, source="other") for number in range(3)]
    reasons = rules.placeholder([*photos, *elsewhere], Options())
    assert set(reasons) == {"0", "1", "2", "3"}
    assert reasons["0"] == "4 photos of site share its file: it is a placeholder."
    assert rules.placeholder([*photos, *elsewhere], Options(placeholder_ids=4)) == {}


def test_of_exact_duplicates_the_one_with_the_most_labels_is_kept_then_the_oldest() -> None:
    same = sized(420, 280)
    photos = [
        photo("late", same, constructor="Airbus", airline="Air", scraped_at="2026-02-01"),
        photo("early", same, constructor="Airbus", airline="Air", scraped_at="2026-01-01"),
        photo("poor", same, constructor="Airbus", scraped_at="2025-01-01"),
        photo("another", constructor="Airbus"),
    ]
    dropped, conflicts = rules.exact_duplicate(photos, Options())
    assert dropped == {
        "late": "It is the same file as early, which is older.",
        "poor": "It is the same file as early, which has more labels.",
    }
    assert conflicts == []


def test_duplicates_with_contradicting_labels_are_kept_for_review() -> None:
    same = sized(420, 280)
    first = photo("first", same, constructor="Airbus", family="A320", registration="D-AIZC")
    second = photo("second", same, constructor="Boeing", family="737")
    agreeing = photo("third", same, constructor="Airbus", registration="daizc")
    assert rules.exact_duplicate([first, second, agreeing], Options()) == (
        {"third": "It is the same file as first, which has more labels."},
        [(first, second, "constructor")],
    )


@pytest.mark.parametrize(
    ("labels", "other", "column"),
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
    labels: dict[str, str], other: dict[str, str], column: str | None
) -> None:
    photos = [photo("photo", None, 50_000, **labels), photo("other", None, 50_000, **other)]
    dropped, conflicts = rules.near_duplicate(photos, [NearDuplicate(0, 1, 2, 0.995)])
    assert [column for _, _, column in conflicts] == ([column] if column else [])
    assert len(dropped) == (column is None)


def test_of_near_duplicates_the_largest_is_kept_then_the_one_with_the_most_labels() -> None:
    photos = [
        photo("thumbnail", sized(200, 133), constructor="Airbus", airline="Air"),
        photo("large", sized(1200, 800)),
        photo("labelled", sized(1200, 800), constructor="Airbus"),
    ]
    dropped, _ = rules.near_duplicate(
        photos, [NearDuplicate(0, 1, 2, 0.9931), NearDuplicate(0, 2, 0, 0.999), NearDuplicate(1, 2, 1, 0.9988)]
    )
    assert dropped == {
        "large": "It is a near duplicate of labelled (Hamming distance 1 of 64 bits, correlation 0.999), "
        "which has more labels.",
        "thumbnail": "It is a near duplicate of labelled (Hamming distance 0 of 64 bits, correlation 0.999), "
        "which is larger: 1200 x 800.",
    }


def test_a_photo_is_kept_if_its_near_duplicate_was_dropped() -> None:
    # b is a near duplicate of a and of c, but a is not one of c: without b, both are kept.
    photos = [photo("a", sized(1200, 800)), photo("b", sized(1000, 700)), photo("c", sized(900, 600))]
    dropped, _ = rules.near_duplicate(photos, [NearDuplicate(0, 1, 2, 0.995), NearDuplicate(1, 2, 2, 0.995)])
    assert set(dropped) == {"b"}


def test_caps_are_disabled_by_default_and_keep_photos_without_a_name() -> None:
    photos = [photo(str(number), registration="", airline="", model="") for number in range(5)]
    named = [photo(f"n{number}", registration="D-AIZC", airline="Air", model="A380") for number in range(5)]
    for name, rule in rules.CAPS.items():
        assert rule([*photos, *named], Options()) == {}
        option = {"airframe": "per_airframe", "airline": "per_airline", "model": "per_model"}[name]
        reasons = rule([*photos, *named], Options(**{option: 2}))  # type: ignore[arg-type]
        assert len(reasons) == 3
        assert set(reasons) < {row.name for row in named}


def test_spellings_of_a_registration_are_equal() -> None:
    photos = [photo("1", registration="D-AIZC"), photo("2", registration="daizc"), photo("3", registration="D AIZC")]
    reasons = rules.airframe(photos, Options(per_airframe=1))
    assert len(reasons) == 2
    assert set(reasons.values()) == {"There are 3 photos of DAIZC, above --per-airframe 1."}


@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
    cap=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_a_cap_is_deterministic_and_fair_to_the_sources(sizes: list[int], cap: int, order: object) -> None:
    photos = [
        photo(f"{source}-{number}", source=str(source), airline="Air")
        for source, size in enumerate(sizes)
        for number in range(size)
    ]
    shuffled = list(photos)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    dropped = rules.airline(photos, Options(per_airline=cap))
    assert rules.airline(shuffled, Options(per_airline=cap)).keys() == dropped.keys()
    counts = Counter(row.value("source") for row in photos if row.name not in dropped)
    assert counts.total() == min(cap, sum(sizes))
    for source, size in enumerate(sizes):  # a source that lost photos has at least as many as any other, less one
        if counts[str(source)] < size:
            assert all(counts[str(other)] <= counts[str(source)] + 1 for other in range(len(sizes)))
