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
    port: Annotated[int, typer.Option(help="Port of the page; 0 picks a free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address that the page listens on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote", help="Allow a --host that other machines can reach, without TLS and authentication."
        ),
    ] = False,
    min_probability: options.MinProbability = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    token_file: options.TokenFile = None,
    insecure: options.Insecure = False,
    verbose: options.Verbose = False,
) -> None:
    """Serve a web page on this machine that classifies the photos dropped on it.

    Drop photos or a folder on the page to see what each shows, how confident the prediction is and which other types
    are probable; filter the results, and save them as CSV. Photos go from the browser to this command and from it to
    the server, nowhere else.

    If --server is not given and no server runs on this machine, the command starts one for itself, with the installed
    model or the one that --model names. That takes a few seconds and needs the server extra.

    Example: planespotter web --open

    Example: planespotter web --server planes.example:50051 --tls --token-file archive.token --port 8080

    The first line on stdout ends with the address of the page. Ctrl-C or SIGTERM ends the command.

    Exit codes: 0 ended; 1 it could not start; 2 wrong usage.
    """
    import asyncio

    from planespotter_client.commands.local_server import connect_or_start
    from planespotter_client.web import server as web_server

    options.check_server_or_model(server, model)
    connection = options.connection(tls, tls_ca, tls_cert, tls_key, tls_name, token_file, insecure)
    listener = web_server.listen(host, port, allow_remote)
    with listener, web_server.exit_on_signal(), connect_or_start(server, model) as (address, is_local):
        asyncio.run(
            web_server.serve(
                listener, host, address, {} if is_local else connection, _on_ready(open_page), min_probability
            )
        )


def _on_ready(open_page: bool) -> Callable[[str], None]:
    def on_ready(url: str) -> None:
        typer.echo(f"Drop photos on {url}")
        if open_page:
            typer.launch(url)

    return on_ready
