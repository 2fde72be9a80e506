"""The command of the server: `planespotter serve`."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer()

MODELS, DEVICE, LIMITS, STOPPING = "What is served", "Batches and the device", "Limits", "Stopping"


def _option(text: str, panel: str | None = None, metavar: str | None = None, default: object = None) -> Any:
    """Return an option whose default stands in settings.py; a test holds that the help says the same."""
    text = text if default is None else f"{text} (default: {default})"
    return typer.Option(help=text, show_default=False, metavar=metavar, rich_help_panel=panel)


@app.command()
def serve(
    config: Annotated[
        Path | None, _option("TOML file with any of the settings below, such as max_delay_ms = 2.")
    ] = None,
    host: Annotated[str | None, _option("Address to listen on.", default="127.0.0.1")] = None,
    port: Annotated[int | None, _option("Port to listen on; 0 takes any free one.", default=50051)] = None,
    model: Annotated[Path | None, _option("Folder of the one bundle to serve.", MODELS)] = None,
    models: Annotated[
        Path | None, _option("Folder of bundles to serve: NAME/VERSION/bundle.json. New ones are picked up.", MODELS)
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
    batches_in_flight: Annotated[
        int | None,
        _option("Batches that the device is given at a time.", DEVICE, default="0: 1 on a CPU, 2 on a GPU"),
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
        int | None, _option("Calls that one client has open at a time, streams included.", LIMITS, default=1024)
    ] = None,
    queue_photos: Annotated[
        int | None,
        _option("Photos of all callers that are worked on at a time; more are refused.", LIMITS, default=1024),
    ] = None,
    queue_bytes: Annotated[int | None, _option("The same in bytes.", LIMITS, default="512 MiB")] = None,
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

    from planespotter_server.logs import configure_logs
    from planespotter_server.server import serve
    from planespotter_server.settings import load_settings

    settings = load_settings(config, **flags)
    configure_logs()
    raise typer.Exit(asyncio.run(serve(settings, typer.echo)))
