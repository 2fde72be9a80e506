"""Sample site: its photo collection, drawings and server."""

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


def test_drawings_are_deterministic_and_distinct() -> None:
    photos = collection(40)
    drawings = [draw(photo.airliner, photo.livery, photo.photo_id) for photo in photos]
    assert drawings[:5] == [draw(photo.airliner, photo.livery, photo.photo_id) for photo in photos[:5]]
    assert len(set(drawings)) == len(drawings)


@pytest.mark.parametrize("airliner", AIRLINERS, ids=lambda airliner: airliner.types[0])
def test_each_airliner_is_drawn_visibly(airliner) -> None:  # type: ignore[no-untyped-def]
    image = Image.open(io.BytesIO(draw(airliner, livery=1, photo=5)))
    assert (image.format, image.size) == ("JPEG", (320, 213))
    other = AIRLINERS[0] if airliner is not AIRLINERS[0] else AIRLINERS[-1]
    # Same camera, weather and livery: only the airliner differs.
    difference = ImageChops.difference(image, Image.open(io.BytesIO(draw(other, livery=1, photo=5)))).convert("L")
    assert sum(difference.histogram()[40:]) > 300


def test_collection_balances_two_constructors_and_has_a_third_one() -> None:
    photos = collection(600)
    count = {name: sum(photo.constructor == name for photo in photos) for name in ("Airbus", "Boeing", "ATR")}
    assert count == {"Airbus": 275, "Boeing": 281, "ATR": 44}
    assert photos == collection(600)
    assert photos[:60] != collection(600)[60:120]


def test_ids_decrease_with_gaps_and_airframes_repeat() -> None:
    photos = collection(600)
    steps = {newer.photo_id - older.photo_id for newer, older in itertools.pairwise(photos)}
    assert min(steps) == 1
    assert max(steps) > 1
    assert 150 < len({photo.registration for photo in photos}) < 400


def test_some_photos_lack_an_airline_or_a_type() -> None:
    photos = collection(600)
    assert 10 < sum(photo.airline == "" for photo in photos) < 100
    assert 2 < sum(photo.aircraft_type == "" for photo in photos) < 30


def test_livery_does_not_reveal_the_constructor() -> None:
    constructors: dict[str, set[str]] = {}
    for photo in collection(600):
        constructors.setdefault(photo.airline, set()).add(photo.constructor)
    assert all({"Airbus", "Boeing"} <= operated for operated in constructors.values())


@pytest.mark.parametrize("airliner", AIRLINERS, ids=lambda airliner: airliner.types[0])
def test_types_of_the_site_have_a_label_path(airliner) -> None:  # type: ignore[no-untyped-def]
    for text in airliner.types:
        path = label_path(airliner.constructor, text)
        assert path.family is not None
        assert path.model is not None or text == "72-212A"


def test_pages_are_empty_and_load_their_photos_as_json() -> None:
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


def test_links_of_a_card_open_lists() -> None:
    site = SampleSite(photos=60)
    with serve(site) as base, httpx.Client(base_url=base) as client:
        photo = site.collection[0]
        response = client.get("/api/photos", params={"of": f"/photos/reg/{photo.registration}"})
        assert photo.photo_id in [listed["id"] for listed in json.loads(response.text)["photos"]]


def test_client_disconnect_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    disconnected = threading.Event()
    site = SampleSite(
        photos=1, intercept=lambda path, headers: Reply(bytes(1 << 22)) if disconnected.wait(60) else None
    )
    with serve(site) as base:
        with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset at once
        disconnected.set()
        httpx.get(base)
    assert capsys.readouterr() == ("", "")


def test_occupied_port_is_reported() -> None:
    with serve(SampleSite(photos=1)) as base:
        port = int(base.rpartition(":")[2])
        with pytest.raises(PortError, match=f"Port {port} cannot be used"), serve(SampleSite(photos=1), port):
            pass
