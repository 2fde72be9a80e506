"""Options of the commands that call a server, and what they mean for the client."""

from pathlib import Path
from typing import Annotated, Any

import typer

from planespotter_client._channels import DEFAULT_ADDRESS

PANEL = "TLS and tokens"

Server = Annotated[
    str | None,
    typer.Option(
        help="Address of the server, or of several with commas between. "
        f"(default: {DEFAULT_ADDRESS} if one answers there, else a server of its own)",
        metavar="HOST:PORT",
        show_default=False,
        autocompletion=lambda: [DEFAULT_ADDRESS],
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        help="Start a server of its own for this bundle, as long as the command takes.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
Tls = Annotated[
    bool,
    typer.Option("--tls", help="Use TLS, and trust the authorities that everybody trusts.", rich_help_panel=PANEL),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        help="Use TLS, and trust the authority in this file (PEM).",
        dir_okay=False,
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        help="Show this certificate (PEM) to the server.", dir_okay=False, show_default=False, rich_help_panel=PANEL
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(help="Its private key (PEM).", dir_okay=False, show_default=False, rich_help_panel=PANEL),
]
TlsName = Annotated[
    str | None,
    typer.Option(
        help="Name that stands in the server's certificate, if it is called by another, such as 127.0.0.1.",
        metavar="NAME",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File that holds the token. (default: the variable PLANESPOTTER_TOKEN)",
        dir_okay=False,
        exists=True,
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Send the token without TLS beyond this machine.", rich_help_panel=PANEL),
]


def check_one_server(server: str | None, model: Path | None) -> None:
    """Refuse a `server` and a `model` at once, as wrong usage."""
    if model is not None and server is not None:
        raise typer.BadParameter("--model starts a server, and --server names one: give one of them.")


def connection(
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_name: str | None,
    token_file: Path | None,
    insecure: bool,
) -> dict[str, Any]:
    """Return the parameters of PlaneSpotter for these options, which leave it to say what is wrong with them."""
    token = None if token_file is None else token_file.read_text(encoding="utf-8", errors="replace")
    return {
        "token": token,
        "tls": tls,
        "tls_ca": tls_ca,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_name": tls_name,
        "insecure": insecure,
    }
