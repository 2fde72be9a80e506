"""What `planespotter web` serves, to whom, and in which words."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import fields
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.web.web_command import web

from planespotter_client import (
    Alternative,
    AsyncPlaneSpotter,
    Classification,
    Level,
    Limits,
    Metric,
    Model,
    ScoredLabel,
    Thresholds,
)
from planespotter_client.commands import main as command
from planespotter_client.web import app, presentation, server, uploads
from planespotter_client.web.middleware import host_name

LIMITS = Limits(**{field.name: 1000 for field in fields(Limits)})
TREE: dict[str, dict[str, tuple[str, ...]]] = {"Airbus": {"A380": ()}, "Boeing": {"737": ("737-800", "737 MAX 8")}}


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[str]:
    with web("--server", address) as (url, _):
        yield url


def asked(page: str, path: str = "", method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, page + path, headers=named, timeout=60)


def parcel(photos: dict[str, bytes]) -> bytes:
    line = json.dumps({"photos": [[name, len(photo)] for name, photo in photos.items()]})
    return line.encode() + b"\n" + b"".join(photos.values())


def posted(page: str, content: bytes, **headers: str) -> httpx.Response:
    named = {"content-type": uploads.MEDIA_TYPE, "origin": page.rstrip("/"), **headers}
    return httpx.post(f"{page}photos", content=content, headers=named, timeout=60)


def test_each_photo_of_a_parcel_gets_a_line_and_the_last_line_says_that_all_is_well(
    page: str, paint: Callable[..., bytes], bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    names = ("737-800", "A380", "nothing known")
    photos = {name: paint(name) for name in names} | {"text": bad_photos["text"][0], "empty": b""}
    *lines, last = map(json.loads, posted(page, parcel(photos)).text.splitlines())
    said = {line["id"]: line for line in lines}
    assert last == {"end": None}
    assert said.keys() == photos.keys()
    assert {name: said[name]["answer"]["level"] for name in names} == {
        "737-800": "model",
        "A380": "family",
        "nothing known": "unknown",
    }
    assert said["737-800"]["answer"]["alternatives"][0]["name"] == "Boeing 737-800"
    assert "no JPEG, PNG or WebP" in said["text"]["error"]
    assert "empty" in said["empty"]["error"]


def test_it_says_which_model_answers_where_and_how_well(page: str, address: str) -> None:
    said = asked(page, "model").json()
    assert (said["name"], said["version"], said["address"]) == ("tiny", "1", address)
    assert said["accuracy"][0] == "It names the constructor in 96 of 100 (200) photos right."
    assert said["limits"]["photo_bytes"] == 100_000


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "icon.svg", "model", "nothing", "photos"])
def test_whatever_it_serves_is_fenced_in(page: str, path: str) -> None:
    headers = asked(page, path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_a_name_that_is_not_this_machines_is_refused(page: str) -> None:
    port = httpx.URL(page).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "10.0.0.1"):
        refused = asked(page, "model", Host=host)
        assert refused.status_code in (400, 403), host
    assert asked(page, "model", Host="evil.example").status_code == 403
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert asked(page, "model", Host=host).status_code == 200


def test_other_sites_can_neither_send_photos_nor_ask_but_may_link_to_the_page(page: str) -> None:
    content = parcel({"1": b"x"})
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"origin": page.replace("http:", "https:")}):
        assert posted(page, content, **headers).status_code == 403
    assert posted(page, content, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert httpx.post(f"{page}photos", content=content).status_code == 403
    assert asked(page, "model", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status_code == 403
    assert asked(page, "model", sec_fetch_site="same-site", sec_fetch_mode="cors").status_code == 403
    assert asked(page, sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 200
    assert asked(page, "model", sec_fetch_site="same-origin").status_code == 200


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (parcel({"1": b"x" * 100_001}), "A photo has 100,001 bytes; the server's limit is 100,000"),
        (parcel({str(n): b"x" for n in range(65)}), "1 to 64 photos"),
        (parcel({}), "1 to 64 photos"),
        (b"nothing", "ended before their first line did"),
        (b"{}\n", "does not say what they are"),
        (b"[" * 9_000 + b"\n", "does not say what they are"),
        (b'{"photos": [["1", -1]]}\n', "does not say what they are"),
        (b" " * 20_000, "first line"),
        (parcel({"1": b"photo"})[:-1], "Only 4 of 5 bytes came"),
        (parcel({"1": b"photo"}) + b"!", "More came than the 5 bytes"),
    ],
)
def test_what_is_no_parcel_is_refused_with_a_sentence(page: str, content: bytes, sentence: str) -> None:
    refused = posted(page, content)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]
    assert refused.json()["again"] is False


def test_a_form_of_another_site_cannot_be_a_parcel(page: str) -> None:
    assert posted(page, b"", **{"content-type": "text/plain"}).status_code == 415


async def in_chunks(content: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    places = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    for start, end in pairwise(places):
        yield content[start:end]


@given(st.dictionaries(st.text(min_size=1, max_size=9), st.binary(max_size=60), min_size=1), st.lists(st.integers(0)))
async def test_a_parcel_comes_out_as_it_went_in_however_it_was_cut(photos: dict[str, bytes], cuts: list[int]) -> None:
    read = await uploads.read(in_chunks(parcel(photos), cuts), LIMITS)
    assert dict(read.photos) == photos
    assert not read.explain


@given(st.binary(max_size=200), st.lists(st.integers(0)))
async def test_anything_else_is_a_parcel_error(content: bytes, cuts: list[int]) -> None:
    with pytest.raises(uploads.ParcelError):
        await uploads.read(in_chunks(content.replace(b"photos", b""), cuts), LIMITS)


async def test_a_parcel_that_never_ends_is_refused() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield parcel({"1": b"photo"})[:-1]
        await asyncio.Event().wait()

    with pytest.raises(uploads.ParcelError, match="did not come within"):
        await uploads.read(stuck(), LIMITS, seconds=0.1)


async def test_those_who_never_read_their_answers_do_not_keep_others_out(
    address: str, paint: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "READING", 0.1)
    headers = {"host": "127.0.0.1", "origin": "http://127.0.0.1", "content-type": uploads.MEDIA_TYPE}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/photos",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    def sent() -> Callable[[], Awaitable[dict[str, Any]]]:
        parts = [{"type": "http.request", "body": parcel({"1": paint("747")})}]

        async def receive() -> dict[str, Any]:
            if not parts:
                await asyncio.Event().wait()
            return parts.pop()

        return receive

    async def never_read(_: Any) -> None:
        await asyncio.Event().wait()

    read: list[bytes] = []

    async def read_all(message: Any) -> None:
        read.append(message.get("body", b""))

    async with AsyncPlaneSpotter(address) as spotter, asyncio.timeout(60):
        site = app.site(spotter, "127.0.0.1", shared=False)
        readers = [never_read] * app.PARCELS + [read_all]
        await asyncio.gather(*(site(dict(scope), sent(), reader) for reader in readers))
    *lines, last = map(json.loads, b"".join(read).splitlines())
    assert [line["id"] for line in lines] == ["1"]
    assert last == {"end": None}


def said(level: Level, *path: tuple[str, float]) -> Classification:
    constructor, family, model = (ScoredLabel(*label) for label in (*path, ("", 0.0), ("", 0.0))[:3])
    return Classification(level, constructor, family, model, (Alternative("Boeing", "737", "737-800", 0.5),))


AIRBUS = (("Airbus", 0.9), ("A380", 0.5))
BOEING = (("Boeing", 0.999), ("737", 0.97), ("737-800", 0.94))


@pytest.mark.parametrize(
    ("classification", "sentence"),
    [
        (said(Level.MODEL, *BOEING), "Boeing 737-800, 94 %; surely a Boeing"),
        (said(Level.FAMILY, *BOEING), "Boeing 737, 97 %; surely a Boeing, perhaps 737-800, 94 %"),
        (said(Level.FAMILY, ("Airbus", 1), ("A380", 0.96)), "Airbus A380, 96 %; surely an Airbus"),
        (said(Level.CONSTRUCTOR, *BOEING), "Boeing, > 99 %; which type is not sure, perhaps 737-800, 94 %"),
        (said(Level.CONSTRUCTOR, *AIRBUS), "Airbus, 90 %; which type is not sure, perhaps A380, 50 %"),
        (said(Level.CONSTRUCTOR, ("Airbus", 0.9)), "Airbus, 90 %; which type is not sure"),
        (said(Level.UNKNOWN, ("Airbus", 0.62), ("A380", 0.5)), "Unknown; the best guess is Airbus, 62 %"),
    ],
)  # fmt: skip
def test_an_answer_is_a_short_sentence(classification: Classification, sentence: str) -> None:
    assert "".join(presentation.sentence(classification)).replace("\N{NO-BREAK SPACE}", " ") == sentence


def test_the_level_is_said_plainly() -> None:
    words = {level: presentation.answer(said(level, *BOEING), TREE)["certainty"] for level in Level}
    assert words == {
        Level.MODEL: "Sure of the model",
        Level.FAMILY: "Sure of the family",
        Level.CONSTRUCTOR: "Sure only of the constructor",
        Level.UNKNOWN: "Not even sure of the constructor",
    }
    deepest = said(Level.FAMILY, ("Airbus", 1), ("A380", 0.96))
    assert presentation.answer(deepest, TREE)["certainty"] == "Sure of the type"


def described(*metrics: Metric) -> Model:
    return Model("small", "1", TREE, (64, 96), Thresholds(0.9, 0.8, 0.7), metrics, LIMITS)


def test_figures_are_said_in_words_each_with_its_own_number_of_photos() -> None:
    model = described(
        Metric("", "constructor_accuracy", 0.864, 1890),
        Metric("", "family_accuracy", 0.67, 514),
        Metric("", "path_accuracy", 0.36, 503),
        Metric("", "sure_share", 0.63, 1890),
        Metric("", "sure_accuracy", 0.95, 441),
        Metric("", "unknown_share", 30 / 32, 32),
        Metric("site", "x", 1, 9000),
    )
    assert presentation.accuracy(model) == [
        "It names the constructor in 86 of 100 (1,890), the family in 67 of 100 (514) and the exact type in 36 of 100 "
        "(503) photos right.",
        "It is sure of 63 of 100 (1,890), and then right in 95 of 100 (441).",
        "Of aircraft by other constructors it calls 30 of 32 unknown.",
        "Measured on photos that it was not trained on; in brackets, on how many.",
    ]
    assert presentation.knows(model) == "It knows 3 types of Airbus and Boeing."


def test_few_photos_need_no_brackets_and_no_figures_no_words() -> None:
    assert presentation.accuracy(described(Metric("", "unknown_share", 1.0, 32))) == [
        "Of aircraft by other constructors it calls 32 of 32 unknown.",
        "Measured on photos that it was not trained on.",
    ]
    assert presentation.accuracy(described()) == []


@pytest.mark.slow
def test_no_server_is_a_sentence_and_may_come_back(kept_port: int) -> None:
    with web("--server", f"127.0.0.1:{kept_port}") as (url, process):
        for answer in (asked(url, "model"), posted(url, parcel({"1": b"x"}))):
            assert answer.status_code == 503
            assert f"No planespotter server answers at 127.0.0.1:{kept_port}" in answer.json()["error"]
            assert answer.json()["again"] is True
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_sigterm_ends_it_well(page: str) -> None:
    with web("--server", "127.0.0.1:1") as (_, process):
        process.terminate()
        assert process.wait(60) == 0


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        command.main(["web", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_other_machines_reach_it_only_where_that_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--host", "0.0.0.0", "--port", 0) == 1
    assert "can be reached from other machines" in capsys.readouterr().err
    with server.listen("0.0.0.0", 0, True) as listening:
        assert listening.getsockname()[1]


def test_a_port_that_is_taken_and_a_host_that_is_none_get_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert run("--port", listening.getsockname()[1]) == 1
    assert "is taken. Give another with --port" in capsys.readouterr().err
    assert run("--host", "no such host", "--port", 0) == 1
    assert "'no such host' is no address of this machine" in capsys.readouterr().err


def test_a_server_and_a_bundle_exclude_each_other(tmp_path: Any) -> None:
    assert run("--server", "127.0.0.1:1", "--model", tmp_path) == 2


def test_without_its_extra_the_command_says_which_one_to_install() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from planespotter_client.commands.main import main; main(['web'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert "pip install 'planespotter[web]'" in done.stderr


@pytest.mark.parametrize(
    ("header", "name"), [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("LocalHost", "localhost"), ("", "")]
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:9/"), ("::1", "http://[::1]:9/"), ("planes", "http://planes:9/")]
)
def test_the_address_that_is_shown_can_be_opened(host: str, url: str) -> None:
    assert server.address(host, 9) == url
