"""The command `planespotter web`."""

from collections.abc import Callable
from typing import Annotated

import typer

from planespotter_client.commands import options

app = typer.Typer()


@app.command()
def web(
    server: options.Server = None,
    model: options.Model = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes any free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address that the page listens on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote", help="Allow a --host that other machines can reach: without TLS or authentication."
        ),
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
) -> None:
    """Serve a page on this machine that classifies the photos dropped on it.

    Drop photos or a folder on the page, and read what each shows, how sure that is and what else it may be; filter the
    answers, and save them as CSV. Photos go from the browser to this command, and from it to the server: nowhere else.

    Where no server is named and none answers on this machine, the command starts one for itself, with the network that
    is installed or the one that --model names. That takes some seconds, and needs the server extra.

    Example: planespotter web --open

    Example: planespotter web --server planes.example:50051 --tls --token-file archive.token --port 8080

    The first line on stdout ends with the address of the page. Ctrl-C or SIGTERM ends it.

    Exit codes: 0 ended; 1 it could not start; 2 wrong usage.
    """
    import asyncio

    from planespotter_client.commands.local_server import connect_or_start
    from planespotter_client.web import server as web_server

    options.check_server_or_model(server, model)
    secured = options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure)
    listening = web_server.listen(host, port, allow_remote)
    with listening, web_server.ending_well(), connect_or_start(server, model) as (address, own):
        asyncio.run(web_server.serve(listening, host, address, {} if own else secured, _ready(open_page)))


def _ready(open_page: bool) -> Callable[[str], None]:
    def ready(url: str) -> None:
        typer.echo(f"Drop photos on {url}")
        if open_page:
            typer.launch(url)

    return ready
