"""`planespotter web` over HTTP: results, rejected requests, security headers, start and end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.client.processes import web
from tests.client.web.multipart import CONTENT_TYPE, multipart

from planespotter_client import AsyncPlaneSpotter
from planespotter_client.commands import main as command
from planespotter_client.web import app, server
from planespotter_client.web.middleware import host_name


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[str]:
    with web("--server", address) as (url, _):
        yield url


def send(page: str, path: str = "", method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, page + path, headers=named, timeout=60)


def page_headers(page: str) -> dict[str, str]:
    return {"content-type": CONTENT_TYPE, "origin": page.rstrip("/"), "x-requested-with": "planespotter"}


def upload(page: str, content: bytes, **headers: str) -> httpx.Response:
    return httpx.post(f"{page}photos", content=content, headers={**page_headers(page), **headers}, timeout=60)


def test_each_photo_of_an_upload_has_a_line_and_the_last_line_the_outcome(
    page: str, paint: Callable[..., bytes], bad_photos: dict[str, tuple[bytes, str]]
) -> None:
    known = {"known": paint("737-800"), "leaf": paint("A380"), "unknown": paint("nothing known")}
    photos = known | {"text": bad_photos["text"][0], "empty": b""}
    *lines, last = map(json.loads, upload(page, multipart(list(photos.items()))).text.splitlines())
    by_id = {line["id"]: line for line in lines}
    assert last == {"end": None}
    assert by_id.keys() == photos.keys()
    assert {photo_id: by_id[photo_id]["prediction"]["level"] for photo_id in known} == {
        "known": "model",
        "leaf": "family",
        "unknown": "unknown",
    }
    assert by_id["known"]["prediction"]["candidates"][0]["name"] == "Boeing 737-800"
    assert "JPEG, PNG or WebP" in by_id["text"]["error"]
    assert "empty" in by_id["empty"]["error"]


def test_model_is_described_with_its_server_and_accuracy(page: str, address: str) -> None:
    model = send(page, "model").json()
    assert (model["name"], model["version"], model["address"]) == ("tiny", "1", address)
    assert model["accuracy"][0] == "It predicts the constructor in 96 % (200) of photos correctly."
    assert model["limits"]["max_photo_bytes"] == 100_000


# Security


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "icon.svg", "model", "nothing", "photos"])
def test_each_response_has_security_headers(page: str, path: str) -> None:
    headers = send(page, path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_host_that_is_not_this_machine_is_rejected(page: str) -> None:
    port = httpx.URL(page).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "10.0.0.1"):
        assert send(page, "model", Host=host).status_code in (400, 403), host
    assert send(page, "model", Host="evil.example").status_code == 403
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert send(page, "model", Host=host).status_code == 200


def test_cross_site_requests_are_rejected_but_links_to_the_page_work(page: str) -> None:
    content = multipart([("1", b"x")])
    for origin in ("http://evil.example", "null", page.replace("http:", "https:")):
        assert upload(page, content, origin=origin).status_code == 403
    assert upload(page, content, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert httpx.post(f"{page}photos", content=content).status_code == 403
    assert send(page, "model", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status_code == 403
    assert send(page, "model", sec_fetch_site="same-site", sec_fetch_mode="cors").status_code == 403
    assert send(page, sec_fetch_site="cross-site", sec_fetch_mode="navigate").status_code == 200
    assert send(page, "model", sec_fetch_site="same-origin").status_code == 200


def test_cross_site_form_cannot_be_an_upload(page: str) -> None:
    content = multipart([("1", b"x")])
    headers = page_headers(page)
    del headers["x-requested-with"]  # a form cannot set it
    assert httpx.post(f"{page}photos", content=content, headers=headers).status_code == 403
    assert upload(page, content, **{"content-type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (multipart([("1", b"x" * 100_001)]), "A photo is larger than the server's limit of 100,000 bytes"),
        (multipart([("1", b"photo")])[:-10], "cut off"),
        (b"nothing", "not valid multipart/form-data"),
    ],
)
def test_invalid_upload_is_rejected_with_a_message(page: str, content: bytes, message: str) -> None:
    response = upload(page, content)
    assert response.status_code == 400
    assert message in response.json()["error"]
    assert response.json()["retryable"] is False


async def test_unread_results_do_not_block_other_uploads(
    address: str, paint: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "READ_TIMEOUT", 0.1)
    headers = {"host": "127.0.0.1", **page_headers("http://127.0.0.1/")}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/photos",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    def request_body() -> Callable[[], Awaitable[dict[str, Any]]]:
        parts = [{"type": "http.request", "body": multipart([("1", paint("747"))])}]

        async def receive() -> dict[str, Any]:
            if not parts:
                await asyncio.Event().wait()
            return parts.pop()

        return receive

    async def never_read(_: Any) -> None:
        await asyncio.Event().wait()

    body: list[bytes] = []

    async def read_all(message: Any) -> None:
        body.append(message.get("body", b""))

    async with AsyncPlaneSpotter(address) as spotter, asyncio.timeout(60):
        application = app.build_app(spotter, "127.0.0.1", allow_remote=False)
        readers = [never_read] * app.MAX_UPLOADS + [read_all]
        await asyncio.gather(*(application(dict(scope), request_body(), reader) for reader in readers))
    *lines, last = map(json.loads, b"".join(body).splitlines())
    assert [line["id"] for line in lines] == ["1"]
    assert last == {"end": None}


@pytest.mark.parametrize(
    ("header", "name"), [("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("LocalHost", "localhost"), ("", "")]
)
def test_host_name_is_parsed_from_the_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


# Start and end


@pytest.mark.slow
def test_unavailable_server_is_a_retryable_error(reserved_port: int) -> None:
    with web("--server", f"127.0.0.1:{reserved_port}") as (url, process):
        for response in (send(url, "model"), upload(url, multipart([("1", b"x")]))):
            assert response.status_code == 503
            assert f"No planespotter server responds at 127.0.0.1:{reserved_port}" in response.json()["error"]
            assert response.json()["retryable"] is True
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.e2e
def test_sigterm_ends_the_command_with_exit_code_0(page: str) -> None:
    with web("--server", "127.0.0.1:1") as (_, process):
        process.terminate()
        assert process.wait(60) == 0


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        command.main(["web", *map(str, arguments)])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_remote_access_needs_allow_remote(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--host", "0.0.0.0", "--port", 0) == 1
    assert "can be reached from other machines" in capsys.readouterr().err
    with server.listen("0.0.0.0", 0, True) as listener:
        assert listener.getsockname()[1]


def test_port_in_use_and_invalid_host_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert run("--port", listener.getsockname()[1]) == 1
    assert "is in use. Give another --port" in capsys.readouterr().err
    assert run("--host", "no such host", "--port", 0) == 1
    assert "'no such host' is not an address of this machine" in capsys.readouterr().err


def test_server_and_model_exclude_each_other(tmp_path: Any) -> None:
    assert run("--server", "127.0.0.1:1", "--model", tmp_path) == 2


def test_missing_uvicorn_names_the_web_extra() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from planespotter_client.commands.main import main; main(['web'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 1
    assert "[web]'" in done.stderr


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:9/"), ("::1", "http://[::1]:9/"), ("planes", "http://planes:9/")]
)
def test_printed_url_can_be_opened(host: str, url: str) -> None:
    assert server.page_url(host, 9) == url
