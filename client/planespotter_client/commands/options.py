"""Options that the commands share: for connections, pages and evidence, and the client parameters for them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from planespotter_client import Prior
from planespotter_client._addresses import DEFAULT_ADDRESS, SERVER_VARIABLE, default_server, names_tls, parse_address
from planespotter_client._prior import list_names

PANEL = "TLS and tokens"

Server = Annotated[
    str | None,
    typer.Option(
        help="Address of the server, or several separated by commas. "
        f"(default: the variable {SERVER_VARIABLE}; without it {DEFAULT_ADDRESS} if a server runs there, else one that "
        "is started for this command)",
        metavar="HOST:PORT",
        show_default=False,
        autocompletion=lambda: [DEFAULT_ADDRESS],
    ),
]
SingleServer = Annotated[
    str | None,
    typer.Option(
        help=f"Address of the server. (default: the variable {SERVER_VARIABLE}, or {DEFAULT_ADDRESS})",
        metavar="HOST:PORT",
        show_default=False,
        autocompletion=lambda: [DEFAULT_ADDRESS],
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        help="Bundle for which to start a server for the duration of this command.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
Tls = Annotated[
    bool,
    typer.Option("--tls", help="Use TLS, and trust the public certificate authorities.", rich_help_panel=PANEL),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        help="Certificate authority to trust (PEM); turns TLS on.",
        dir_okay=False,
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(help="Client certificate (PEM), for mTLS.", dir_okay=False, show_default=False, rich_help_panel=PANEL),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        help="Private key of the client certificate (PEM).", dir_okay=False, show_default=False, rich_help_panel=PANEL
    ),
]
TlsName = Annotated[
    str | None,
    typer.Option(
        help="Host name in the server's certificate, if it differs from --server, such as for 127.0.0.1.",
        metavar="NAME",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the token. (default: the variable PLANESPOTTER_TOKEN)",
        dir_okay=False,
        exists=True,
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Send the token without TLS to other machines.", rich_help_panel=PANEL),
]

PagePort = Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.", min=0, max=65535)]
PageHost = Annotated[str, typer.Option(help="Address that the page listens on.")]
AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote", help="Allow a --host that other machines can reach, without TLS and authentication."
    ),
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]

MinProbability = Annotated[
    float | None,
    typer.Option(
        help="Minimum probability of the confidence level, instead of the thresholds of the model: a lower one names "
        "more photos, with more mistakes. (default: the thresholds of the model)",
        min=0,
        max=1,
        metavar="P",
        show_default=False,
    ),
]


PRIOR_PANEL = "Evidence besides the photo"

Candidates = Annotated[
    str | None,
    typer.Option(
        help="Types that are more probable than others, separated by commas: A320,A321,737-800. Others stay possible.",
        metavar="TYPES",
        show_default=False,
        rich_help_panel=PRIOR_PANEL,
    ),
]
Fleet = Annotated[
    Path | None,
    typer.Option(
        help="CSV file with types that are more probable than others: columns model (or aircraft_type), and optionally "
        "airline, airport and share. A catalog is one, too.",
        exists=True,
        dir_okay=False,
        show_default=False,
        rich_help_panel=PRIOR_PANEL,
    ),
]
Airline = Annotated[
    str | None,
    typer.Option(
        help="With --fleet: use the rows of this airline only.", show_default=False, rich_help_panel=PRIOR_PANEL
    ),
]
Airport = Annotated[
    str | None,
    typer.Option(
        help="With --fleet: use the rows of this airport only.", show_default=False, rich_help_panel=PRIOR_PANEL
    ),
]
PriorOdds = Annotated[
    float | None,
    typer.Option(
        help="How many times as probable the most common listed type is as one that is not listed, before the photo is "
        "seen. More than 2 helps only where the list is right for every photo. (default: 2)",
        min=1,
        max=1000,
        metavar="N",
        show_default=False,
        rich_help_panel=PRIOR_PANEL,
    ),
]


def prior(
    candidates: str | None, fleet: Path | None, airline: str | None, airport: str | None, odds: float | None
) -> Prior | None:
    """Return the prior that these options describe; None without one. Report rows of the fleet that are not types.

    Raises:
        typer.BadParameter: The options contradict each other.
        InvalidRequestError: The list or the file is not usable.
    """
    if candidates is not None and fleet is not None:
        raise typer.BadParameter("--candidates and --fleet are two kinds of the same evidence: give only one of them.")
    if fleet is None and (airline is not None or airport is not None):
        raise typer.BadParameter("--airline and --airport need --fleet.")
    if candidates is not None:
        return Prior.from_candidates(candidates.split(","), odds=odds)
    if fleet is None:
        if odds is not None:
            raise typer.BadParameter("--prior-odds needs --fleet or --candidates.")
        return None
    result = Prior.from_fleet(fleet, airline=airline, airport=airport, odds=odds)
    if result.unresolved:
        typer.echo(f"{fleet}: {list_names(result.unresolved)}: no aircraft type is called that; skipped.", err=True)
    return result


def _set_verbose(verbose: bool) -> bool:
    if verbose:
        logging.getLogger("planespotter_client").setLevel(logging.DEBUG)
    return verbose


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", help="With an error, print its causes too, such as what gRPC reports.", callback=_set_verbose
    ),
]


def check_server_or_model(server: str | None, model: Path | None) -> None:
    """Check that not both `server` and `model` are given.

    Raises:
        typer.BadParameter: Both are given.
    """
    if model is not None and server is not None:
        raise typer.BadParameter("--model starts a server, and --server names one: give only one of them.")


def single_server(server: str | None, tls: bool) -> tuple[str, bool]:
    """Return the address that --server names, by default the configured one, and whether to use TLS for it.

    Raises:
        InvalidRequestError: The address is invalid.
    """
    address = (default_server() or DEFAULT_ADDRESS) if server is None else server
    return parse_address(address), tls or names_tls(address)


def connection(
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_name: str | None,
    token_file: Path | None,
    insecure: bool,
) -> dict[str, Any]:
    """Return the parameters of PlaneSpotter for these options. PlaneSpotter validates them."""
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


def announce(text: str, open_page: bool) -> Callable[[str], None]:
    """Return what to do with the URL of a page that is ready: print it after `text`, and open it if asked to."""

    def on_ready(url: str) -> None:
        typer.echo(f"{text} {url}")
        if open_page:
            typer.launch(url)

    return on_ready
