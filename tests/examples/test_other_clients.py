"""The lines for `buf curl` and `grpcurl` in docs/calling.md, run unchanged against a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "calling.md").read_text(encoding="utf-8")
METHOD = re.compile(r"ClassifierService/(\w+)")
PLAIN, SECURED = "127.0.0.1:50051", "planes.example:50051"


def lines_of(program: str) -> list[str]:
    """Return the commands of the page that call `program`, each on one line."""
    blocks = re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)
    joined = (re.sub(r"(\\|\||;|do)\n\s+", lambda end: f"{end[1].rstrip(chr(92))} ", block) for block in blocks)
    return [line.strip() for block in joined for line in block.splitlines() if f"{program} -" in line]


LINES = [("buf", line) for line in lines_of("buf curl")] + [("grpcurl", line) for line in lines_of("grpcurl")]


@pytest.fixture(scope="module")
def secured(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """A server that requires TLS and a token: its address, the folder with ca.pem, and the token."""
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    planespotter = [sys.executable, "-m", "planespotter_client.commands.main"]
    new_token = [*planespotter, "token", "new", "archive", "--tokens", str(folder / "tokens.txt")]
    token = subprocess.run(new_token, capture_output=True, text=True, check=True).stdout.strip()
    files = {"--tls-cert": "cert.pem", "--tls-key": "key.pem", "--tokens": "tokens.txt"}
    flags = [word for flag, file in files.items() for word in (flag, str(folder / file))]
    serve = [*planespotter, "serve", "--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "1", *flags]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip().rsplit(" ", 1)[1], folder, token
        server.terminate()


@pytest.mark.parametrize(
    ("program", "line"), LINES, ids=[f"{program}-{METHOD.findall(line)[0]}" for program, line in LINES]
)
def test_documented_command_succeeds(
    program: str,
    line: str,
    address: str,
    secured: tuple[str, Path, str],
    paint: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])  # buf comes with the dev group
    if shutil.which(program, path=path) is None:
        pytest.skip(f"{program} is not on this machine, so its commands are not tested")
    for name, painted in (("photo.jpg", "737-800"), ("another.jpg", "A320neo")):
        (tmp_path / name).write_bytes(paint(painted))
    shutil.copy(secured[1] / "ca.pem", tmp_path)
    command = line.replace(PLAIN, address).replace(SECURED, secured[0])
    environment = {**os.environ, "PATH": path, "TOKEN": secured[2]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    method = METHOD.search(line)
    match method and method[1]:
        case "Classify":
            prediction = json.loads(done.stdout)["prediction"]
            assert [node["name"] for node in prediction["path"]] == ["Boeing", "737", "737-800"]
            assert done.stdout.index('"path"') < done.stdout.index('"modelName"'), "the path is printed first"
        case "StreamClassify":
            assert '"id": "photo.jpg"' in done.stdout
            assert '"id": "another.jpg"' in done.stdout
        case "GetServerInfo":
            assert json.loads(done.stdout)["limits"]["maxQueueWait"] == "10s"
        case "GetModel" | "ListModels":
            assert '"name": "tiny"' in done.stdout
        case _:
            assert "planespotter.v1.ClassifierService" in done.stdout


def test_both_programs_are_documented_for_the_same_methods() -> None:
    called = [[METHOD.findall(line) for line in lines_of(program)] for program in ("buf curl", "grpcurl")]
    assert called[0] == called[1]
    assert ["StreamClassify"] in called[0]
