"""The commands of the server: `planespotter serve` and `planespotter token`."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()

token_app = typer.Typer(
    name="token", help="Make, list and revoke the tokens with which clients call a server.", no_args_is_help=True
)
app.add_typer(token_app)

MODELS, DEVICE, LIMITS, STOPPING = "What is served", "Batches and the device", "Limits", "Stopping"
ACCESS, SEEING = "Who may call", "Seeing it"
FILE, FOLDER = "<file>", "<dir>"


def _option(
    text: str, panel: str | None = None, metavar: str | None = None, default: object = None, *names: str
) -> Any:
    """Return an option whose default stands in settings.py; a test holds that the help says the same."""
    text = text if default is None else f"{text} (default: {default})"
    return typer.Option(*names, help=text, show_default=False, metavar=metavar, rich_help_panel=panel)


@app.command()
def serve(
    config: Annotated[
        Path | None, _option("TOML file with any of the settings below, such as max_delay_ms = 2.", None, FILE)
    ] = None,
    host: Annotated[str | None, _option("Address to listen on.", default="127.0.0.1")] = None,
    port: Annotated[int | None, _option("Port to listen on; 0 takes any free one.", default=50051)] = None,
    tls_cert: Annotated[
        Path | None,
        _option("Certificate of the server (PEM). Read again when it changes, as are these below.", ACCESS, FILE),
    ] = None,
    tls_key: Annotated[Path | None, _option("Its private key (PEM).", ACCESS, FILE)] = None,
    tls_client_ca: Annotated[
        Path | None,
        _option("Let in only clients with a certificate that this authority (PEM) has signed.", ACCESS, FILE),
    ] = None,
    tokens: Annotated[
        Path | None, _option("Let in only clients with a token of this file: see planespotter token.", ACCESS, FILE)
    ] = None,
    insecure: Annotated[
        bool | None,
        _option("Listen beyond this machine without TLS.", ACCESS, None, "no", "--insecure/--no-insecure"),
    ] = None,
    metrics_port: Annotated[
        int | None, _option("Show metrics for Prometheus on this port, over HTTP; 0 takes any free one.", SEEING)
    ] = None,
    metrics_host: Annotated[str | None, _option("Address for the metrics.", SEEING, default="127.0.0.1")] = None,
    log_calls: Annotated[
        bool | None, _option("Log a line for each call.", SEEING, None, "no", "--log-calls/--no-log-calls")
    ] = None,
    otlp_endpoint: Annotated[
        str | None,
        _option(
            "Send traces to this OpenTelemetry collector, such as http://127.0.0.1:4317. Needs the tracing extra.",
            SEEING,
            "URL",
        ),
    ] = None,
    model: Annotated[Path | None, _option("Folder of the one bundle to serve.", MODELS, FOLDER)] = None,
    models: Annotated[
        Path | None,
        _option("Folder of bundles to serve: NAME/VERSION/bundle.json. New ones are picked up.", MODELS, FOLDER),
    ] = None,
    default_model: Annotated[
        str | None,
        _option("Name of the model that answers when a request gives none.", MODELS, default="the first by name"),
    ] = None,
    versions_per_model: Annotated[
        int | None, _option("Versions of each model that are served, the highest ones.", MODELS, default=1)
    ] = None,
    poll_seconds: Annotated[
        float | None, _option("How often --models is looked through for new ones.", MODELS, default=10)
    ] = None,
    batch_sizes: Annotated[
        str | None,
        _option(
            "Numbers of photos for which the network is compiled; the largest is the most photos of a batch.",
            DEVICE,
            "N,N,...",
            default="1,2,4,8,16,32",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        _option(
            "What runs the network: jax, openvino (on a CPU, in 8 bits if the bundle is prepared for it), "
            "openvino-float32, or auto: jax on a GPU, else openvino where it is installed.",
            DEVICE,
            default="auto",
        ),
    ] = None,
    engine_mode: Annotated[
        str | None,
        _option(
            "On a CPU under OpenVINO: latency (all cores work on one batch) or throughput (each on one of its own).",
            DEVICE,
            default="latency",
        ),
    ] = None,
    engine_threads: Annotated[
        int | None, _option("Threads with which OpenVINO computes.", DEVICE, default="0: one per core")
    ] = None,
    engine_cache: Annotated[
        Path | None,
        _option(
            "Folder, yours alone, for what JAX has compiled, so that the next start is quick; the user's own cache if "
            "not given.",
            DEVICE,
            FOLDER,
        ),
    ] = None,
    batches_in_flight: Annotated[
        int | None,
        _option(
            "Batches that the device is given at a time.",
            DEVICE,
            default="0: those that the engine works on, and one that is made ready",
        ),
    ] = None,
    max_delay_ms: Annotated[
        float | None, _option("How long an idle device waits for a batch to fill.", DEVICE, default=0)
    ] = None,
    decode_threads: Annotated[
        int | None, _option("Threads that decode photos.", DEVICE, default="one per core")
    ] = None,
    device_failures: Annotated[
        int | None,
        _option("Batches that fail in a row before the server gives the device up.", DEVICE, default=5),
    ] = None,
    device_timeout_seconds: Annotated[
        float | None,
        _option("How long one batch may take before the server gives the device up.", DEVICE, default=120),
    ] = None,
    max_photo_bytes: Annotated[int | None, _option("Largest photo file.", LIMITS, default="16 MiB")] = None,
    max_photo_pixels: Annotated[int | None, _option("Most pixels in a photo.", LIMITS, default=40000000)] = None,
    max_batch_photos: Annotated[
        int | None, _option("Most photos in one BatchClassify call.", LIMITS, default=64)
    ] = None,
    max_message_bytes: Annotated[int | None, _option("Largest gRPC message.", LIMITS, default="64 MiB")] = None,
    max_alternatives: Annotated[
        int | None, _option("Most alternatives that a photo can ask for.", LIMITS, default=20)
    ] = None,
    max_streams: Annotated[int | None, _option("Streams that are open at a time.", LIMITS, default=256)] = None,
    stream_window: Annotated[
        int | None, _option("Photos of one stream that are worked on at a time.", LIMITS, default=64)
    ] = None,
    stream_window_bytes: Annotated[int | None, _option("The same in bytes.", LIMITS, default="64 MiB")] = None,
    max_client_calls: Annotated[
        int | None, _option("Calls that one client has open at a time, streams included.", LIMITS, default=256)
    ] = None,
    queue_photos: Annotated[
        int | None,
        _option("Photos of all callers that are worked on at a time; more are refused.", LIMITS, default=1024),
    ] = None,
    queue_bytes: Annotated[int | None, _option("The same in bytes.", LIMITS, default="512 MiB")] = None,
    queue_seconds: Annotated[
        float | None,
        _option("Longest that the photo of a single call would wait; else it is refused.", LIMITS, default=10),
    ] = None,
    drain_seconds: Annotated[
        float | None,
        _option(
            "How long a stop still takes photos after health says NOT_SERVING, for load balancers to turn away.",
            STOPPING,
            default=0.5,
        ),
    ] = None,
    grace_seconds: Annotated[
        float | None, _option("How long a stop waits in all for photos in work.", STOPPING, default=30)
    ] = None,
) -> None:
    """Serve bundles over gRPC.

    Example: planespotter serve --model bundles/small --port 50051

    Example: planespotter serve --models bundles --config serve.toml

    Example: planespotter serve --model bundles/small --host 0.0.0.0 --tls-cert server.pem --tls-key server.key
    --tokens tokens.txt

    When it is ready it shows on stdout where it listens, what it serves and its limits; the first line ends with the
    address.

    SIGTERM or Ctrl-C lets the photos in work finish; a second one stops at once.

    Each setting can also come from the environment, --max-delay-ms from PLANESPOTTER_MAX_DELAY_MS, and from the file
    given with --config, as max_delay_ms. Flags come before the environment, and that before the file.

    Exit codes: 0 stopped, and every photo that was taken has been answered; 1 it could not start, or a second signal or
    the end of the grace period dropped photos; 2 wrong usage; 75 the device failed: start it again.
    """
    import asyncio
    import signal
    import sys

    flags = {name: value for name, value in locals().items() if name not in ("config", "asyncio", "signal", "sys")}

    # What follows takes seconds to import, and a process that is the first of its container ignores SIGTERM till then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    from planespotter_server.observability.logging import configure_logs
    from planespotter_server.server import event_loop, serve
    from planespotter_server.settings import load_settings

    settings = load_settings(config, **flags)
    configure_logs()
    with asyncio.Runner(loop_factory=event_loop) as runner:
        raise typer.Exit(runner.run(serve(settings, typer.echo)))


TokensFile = Annotated[Path, typer.Option(help="File of the tokens.", dir_okay=False, show_default=False)]
Name = Annotated[str, typer.Argument(help="Whose token it is.", show_default=False)]


@token_app.command()
def new(
    name: Name,
    tokens: TokensFile,
    max_calls: Annotated[
        int | None, typer.Option(help="Most calls that it has open at a time.", min=1, show_default="as every client")
    ] = None,
    photos_per_second: Annotated[
        float | None, typer.Option(help="Most photos per second.", show_default="no limit")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the token to this new file, which only you can read, instead of showing it.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a token and show it, once: the file of the tokens holds only its hash.

    Example: planespotter token new archive --tokens tokens.txt --photos-per-second 50 --out archive.token

    The client reads it from a file (planespotter classify --token-file archive.token) or from the variable
    PLANESPOTTER_TOKEN. A server that runs takes it within a second.
    """
    from planespotter_server.auth.tokens import add_token, secret_file

    if out is None:
        typer.echo(add_token(tokens, name, max_calls, photos_per_second))
        return
    with secret_file(out) as file:
        file.write(add_token(tokens, name, max_calls, photos_per_second) + "\n")
    typer.echo(f"The token of {name} is in {out}.", err=True)


@token_app.command("list")
def list_tokens(tokens: TokensFile) -> None:
    """List whose tokens the file has, and their limits.

    Example: planespotter token list --tokens tokens.txt
    """
    from planespotter_server.auth.tokens import read_tokens

    for token in read_tokens(tokens).values():
        limits = [
            f"max_calls={token.max_calls}" if token.max_calls is not None else "",
            f"photos_per_second={token.photos_per_second:g}" if token.photos_per_second is not None else "",
        ]
        typer.echo(" ".join(filter(None, (token.name, *limits))))


@token_app.command()
def revoke(name: Name, tokens: TokensFile) -> None:
    """Take a token out of the file. A server that runs refuses it within a second, also on streams that are open.

    Example: planespotter token revoke archive --tokens tokens.txt
    """
    from planespotter_server.auth.tokens import revoke_token

    revoke_token(tokens, name)
    typer.echo(f"The token of {name} is revoked.", err=True)
