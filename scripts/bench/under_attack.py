"""Benchmark a server under attack: an honest caller's latency and the server's memory, with and without attackers."""

import time
from pathlib import Path
from typing import Any

from scripts import network_attacks
from scripts.bench.report import Section
from scripts.h2_client import H2Client
from scripts.honest_caller import HonestCaller, Measurement

from planespotter_client.bench.console_report import format_duration
from planespotter_client.commands.local_server import local_server
from planespotter_server.auth.tokens import add_token

IDLE_SECONDS = 5.0
PHOTO_SECONDS = 15.0
CONNECTIONS = 60


def measure(model_folder: Path, photo: Path, folder: Path) -> dict[str, Any]:
    """Attack a server of the bundle in `model_folder`, while a caller with a token sends `photo`.

    First without a token, by what has to be rejected; then with one, by photos that cost the most.

    Args:
        model_folder: The bundle.
        photo: A photo.
        folder: Where the tokens and the server's log are written.
    """
    folder.mkdir()
    honest, hostile = (
        (("authorization", f"Bearer {add_token(folder / 'tokens', name)}"),) for name in ("honest", "hostile")
    )
    network_attacks.costly_photos()  # to create them takes seconds
    server = local_server(folder / "server.log", model_folder, "--tokens", str(folder / "tokens"))
    with server as (address, pid), HonestCaller(address, pid, photo.read_bytes(), honest) as caller:
        idle = caller.measure(lambda: time.sleep(IDLE_SECONDS))
        clients: list[H2Client] = []
        rejected = caller.measure(lambda: clients.extend(network_attacks.bombs_and_uploads(address, CONNECTIONS)))
        for client in clients:
            client.socket.close()
        costly = caller.measure(lambda: network_attacks.send_costly_photos(address, PHOTO_SECONDS, hostile))
    return {"idle": _summary(idle), "bombs and uploads": _summary(rejected), "costly photos": _summary(costly)}


def _summary(measured: Measurement) -> dict[str, float]:
    return {
        "p50": measured.percentile(0.5),
        "p99": measured.percentile(0.99),
        "errors": len(measured.errors),
        "growth": measured.growth,
    }


def show(title: str, measured: dict[str, Any]) -> Section:
    """Return the results as a table."""
    section = Section(f"Under attack, {title}", ["an honest caller", "p50", "p99", "errors", "server's\nmemory"], [])
    for name, result in measured.items():
        section.rows.append(
            [
                name,
                format_duration(result["p50"]),
                format_duration(result["p99"]),
                f"{result['errors']:,}",
                f"{result['growth'] / 2**20:+,.0f} MiB",
            ]
        )
    section.notes.append(
        f"Bombs and uploads: {CONNECTIONS} gzip bombs and {CONNECTIONS} unfinished uploads of 60 MiB, without a token. "
        "Costly photos: those that are accepted and cost the most, by four callers with another client's token."
    )
    return section
