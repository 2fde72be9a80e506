"""The command `planespotter web`."""

import typer

from planespotter_client.commands import options

app = typer.Typer()


@app.command()
def web(
    server: options.Server = None,
    model: options.Model = None,
    port: options.PagePort = 8080,
    host: options.PageHost = "127.0.0.1",
    allow_remote: options.AllowRemote = False,
    min_probability: options.MinProbability = None,
    open_page: options.OpenPage = False,
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
                listener,
                host,
                address,
                {} if is_local else connection,
                options.announce("Drop photos on", open_page),
                min_probability,
            )
        )
