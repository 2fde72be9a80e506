"""The command of the server: `planespotter serve`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def serve(
    model: Annotated[Path, typer.Option(help="Folder of the bundle to serve.", show_default=False)],
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. (default: 127.0.0.1)", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes any free one. (default: 50051)", show_default=False)
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            help="Numbers of photos for which the network is compiled; the largest is the most photos the device "
            "gets at a time. (default: 1,2,4,8,16,32)",
            metavar="N,N,...",
            show_default=False,
        ),
    ] = None,
    max_delay_ms: Annotated[
        float | None,
        typer.Option(help="How long an idle device waits for a batch to fill. (default: 0)", show_default=False),
    ] = None,
    decode_threads: Annotated[
        int | None, typer.Option(help="Threads that decode photos. (default: one per core)", show_default=False)
    ] = None,
    max_photo_bytes: Annotated[
        int | None, typer.Option(help="Largest photo file. (default: 16 MiB)", show_default=False)
    ] = None,
    max_photo_pixels: Annotated[
        int | None, typer.Option(help="Most pixels in a photo. (default: 40000000)", show_default=False)
    ] = None,
    max_batch_photos: Annotated[
        int | None, typer.Option(help="Most photos in one BatchClassify call. (default: 64)", show_default=False)
    ] = None,
    max_message_bytes: Annotated[
        int | None, typer.Option(help="Largest gRPC message. (default: 64 MiB)", show_default=False)
    ] = None,
    max_alternatives: Annotated[
        int | None, typer.Option(help="Most alternatives that a photo can ask for. (default: 20)", show_default=False)
    ] = None,
    stream_window: Annotated[
        int | None,
        typer.Option(help="Photos of one stream that are worked on at a time. (default: 64)", show_default=False),
    ] = None,
    queue_photos: Annotated[
        int | None,
        typer.Option(
            help="Photos of all callers that are worked on at a time; more are refused. (default: 1024)",
            show_default=False,
        ),
    ] = None,
    queue_bytes: Annotated[
        int | None, typer.Option(help="The same in bytes. (default: 512 MiB)", show_default=False)
    ] = None,
    grace_seconds: Annotated[
        float | None,
        typer.Option(help="How long a stop waits for photos in work. (default: 30)", show_default=False),
    ] = None,
) -> None:
    """Serve a bundle over gRPC.

    Example: planespotter serve --model bundles/small --port 50051

    Prints one line on stdout when it is ready. SIGTERM or Ctrl-C lets the photos in work finish; a second one stops
    at once. Each setting can also come from the environment: --max-delay-ms from PLANESPOTTER_MAX_DELAY_MS, and so on.
    """
    import asyncio
    import signal
    import sys

    # What follows takes seconds to import, and a process that is the first of its container ignores SIGTERM till then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    from planespotter_server.logs import configure_logs
    from planespotter_server.server import serve
    from planespotter_server.settings import load_settings

    settings = load_settings(
        host=host,
        port=port,
        batch_sizes=batch_sizes,
        max_delay_ms=max_delay_ms,
        decode_threads=decode_threads,
        max_photo_bytes=max_photo_bytes,
        max_photo_pixels=max_photo_pixels,
        max_batch_photos=max_batch_photos,
        max_message_bytes=max_message_bytes,
        max_alternatives=max_alternatives,
        stream_window=stream_window,
        queue_photos=queue_photos,
        queue_bytes=queue_bytes,
        grace_seconds=grace_seconds,
    )
    configure_logs()
    raise typer.Exit(asyncio.run(serve(model, settings, typer.echo)))
