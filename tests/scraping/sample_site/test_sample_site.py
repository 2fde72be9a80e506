"""The sample site: a photo site small enough to run in a test, with drawings that a network can learn from."""

import io
import itertools
import json
import socket
import struct
import threading

import httpx
import pytest
from PIL import Image, ImageChops

from planespotter_scraping.labels.parser import label_path
from planespotter_scraping.sample_site.airliners import AIRLINERS
from planespotter_scraping.sample_site.drawing import draw
from planespotter_scraping.sample_site.photos import collection
from planespotter_scraping.sample_site.server import PortError, Reply, SampleSite, serve


def test_a_drawing_is_the_same_each_time_and_no_two_photos_are_alike() -> None:
    photos = collection(40)
    drawings = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in photos]
    assert drawings[:5] == [draw(photo.airliner, photo.livery, photo.photo_id) for photo in photos[:5]]
    assert len(set(drawings)) == len(drawings)


@pytest.mark.parametrize("airliner", AIRLINERS, ids=lambda airliner: airliner.types[0])
def test_each_airliner_can_be_drawn_and_seen(airliner) -> None:  # type: ignore[no-untyped-def]
    image = Image.open(io.BytesIO(draw(airliner, livery=1, photo=5)))
    assert (image.format, image.size) == ("JPEG", (320, 213))
    other = AIRLINERS[0] if airliner is not AIRLINERS[0] else AIRLINERS[-1]
    # The same photographer, weather and paint: what differs is the airliner.
    difference = ImageChops.difference(image, Image.open(io.BytesIO(draw(other, livery=1, photo=5)))).convert("L")
    assert sum(difference.histogram()[40:]) > 300


def test_the_site_shows_two_constructors_evenly_and_a_third_one() -> None:
    photos = collection(600)
    count = {maker: sum(photo.constructor == maker for photo in photos) for maker in ("Airbus", "Boeing", "ATR")}
    assert count == {"Airbus": 275, "Boeing": 281, "ATR": 44}
    assert photos == collection(600)
    assert photos[:60] != collection(600)[60:120]


def test_ids_fall_with_gaps_and_airframes_come_back() -> None:
    photos = collection(600)
    steps = {before.photo_id - after.photo_id for before, after in itertools.pairwise(photos)}
    assert min(steps) == 1
    assert max(steps) > 1
    assert 150 < len({photo.registration for photo in photos}) < 400


def test_some_photos_lack_an_airline_or_a_type() -> None:
    photos = collection(600)
    assert 10 < sum(photo.airline == "" for photo in photos) < 100
    assert 2 < sum(photo.aircraft_type == "" for photo in photos) < 30


def test_paint_says_nothing_about_the_constructor() -> None:
    makers: dict[str, set[str]] = {}
    for photo in collection(600):
        makers.setdefault(photo.airline, set()).add(photo.constructor)
    assert all({"Airbus", "Boeing"} <= flown for flown in makers.values())


@pytest.mark.parametrize("airliner", AIRLINERS, ids=lambda airliner: airliner.types[0])
def test_the_types_that_the_site_writes_have_a_place_in_the_tree(airliner) -> None:  # type: ignore[no-untyped-def]
    for text in airliner.types:
        path = label_path(airliner.constructor, text)
        assert path.family is not None
        assert path.model is not None or text == "72-212A"


def test_pages_are_shells_and_the_photos_come_as_json() -> None:
    with serve(SampleSite(photos=60)) as base, httpx.Client(base_url=base) as client:
        shell = client.get("/photos/latest?page=2")
        assert shell.status_code == 200
        assert "data-photo-url" not in shell.text
        first, second = (client.get(f"/api/photos?page={page}").json() for page in (1, 2))
        assert (len(first["photos"]), len(second["photos"]), second["pages"]) == (48, 12, 2)
        image = client.get(first["photos"][0]["image"])
        assert image.headers["content-type"] == "image/jpeg"
        assert client.get("/api/photos?page=3").status_code == 404
        assert client.get("/images/1.jpg").status_code == 404
        assert client.get("/static/../server.py").status_code == 404


def test_the_links_of_a_card_lead_to_lists() -> None:
    site = SampleSite(photos=60)
    with serve(site) as base, httpx.Client(base_url=base) as client:
        photo = site.collection[0]
        answer = client.get("/api/photos", params={"of": f"/photos/reg/{photo.registration}"})
        assert photo.photo_id in [shown["id"] for shown in json.loads(answer.text)["photos"]]


def test_nothing_is_said_of_a_visitor_who_hangs_up(capsys: pytest.CaptureFixture[str]) -> None:
    gone = threading.Event()
    site = SampleSite(photos=1, interfere=lambda path, headers: Reply(bytes(1 << 22)) if gone.wait(60) else None)
    with serve(site) as base:
        with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\n\r\n")
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # hang up at once
        gone.set()
        httpx.get(base)
    assert capsys.readouterr() == ("", "")


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with serve(SampleSite(photos=1)) as base:
        port = int(base.rpartition(":")[2])
        with pytest.raises(PortError, match=f"Port {port} cannot be used"), serve(SampleSite(photos=1), port):
            pass
