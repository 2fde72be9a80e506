"""Benchmark a server under attack: an honest caller's latency and the server's memory, with and without attackers."""

import time
from pathlib import Path
from typing import Any

from scripts import network_attacks
from scripts.bench.report import Section
from scripts.h2_client import H2Client
from scripts.honest_caller import HonestCaller

from planespotter_client.bench.console_report import format_duration
from planespotter_client.commands.local_server import local_server
from planespotter_server.auth.tokens import add_token

IDLE_SECONDS = 5.0
CONNECTIONS = 60


def measure(model_folder: Path, photo: Path, folder: Path) -> dict[str, Any]:
    """Attack a server of the bundle in `model_folder` without a token, while a caller with a token sends `photo`.

    Args:
        model_folder: The bundle.
        photo: A photo.
        folder: Where the tokens and the server's log are written.
    """
    folder.mkdir()
    metadata = (("authorization", f"Bearer {add_token(folder / 'tokens', 'honest')}"),)
    server = local_server(folder / "server.log", model_folder, "--tokens", str(folder / "tokens"))
    with (
        server as (address, pid),
        HonestCaller(address, pid, photo.read_bytes(), metadata) as caller,
    ):
        idle = caller.measure(lambda: time.sleep(IDLE_SECONDS))
        clients: list[H2Client] = []
        attacked = caller.measure(lambda: clients.extend(network_attacks.bombs_and_uploads(address, CONNECTIONS)))
        for client in clients:
            client.socket.close()
    return {
        "idle": {"p50": idle.percentile(0.5), "p99": idle.percentile(0.99)},
        "attacked": {"p50": attacked.percentile(0.5), "p99": attacked.percentile(0.99)},
        "errors": len(attacked.errors),
        "growth": attacked.growth,
    }


def show(title: str, measured: dict[str, Any]) -> Section:
    """Return the results as a table."""
    section = Section(f"Under attack, {title}", ["an honest caller", "p50", "p99"], [])
    for name in ("idle", "attacked"):
        result = measured[name]
        section.rows.append([name, format_duration(result["p50"]), format_duration(result["p99"])])
    section.notes.append(
        f"{CONNECTIONS} gzip bombs of 60 MiB and {CONNECTIONS} unfinished uploads of 60 MiB, without a token: the "
        f"server's memory grew by at most {measured['growth'] / 2**20:,.0f} MiB, and {measured['errors']} calls of the "
        "honest caller failed."
    )
    return section
