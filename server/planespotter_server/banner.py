"""What `planespotter serve` shows once it is ready: one screen, narrow enough for any terminal."""

import textwrap
from collections.abc import Sequence

from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings

WIDTH = 80
INDENT = " " * 11
MODELS_SHOWN = 8


def screen(
    address: str,
    models: Sequence[ServedModel],
    default: str,
    settings: Settings,
    metrics_address: str = "",
) -> str:
    """Return the lines, of which the first ends with the address, which other programs read from there.

    `metrics_address` is "" if metrics are not shown.
    """
    first = models[0].bundle
    what = f"{first.name} {first.version}" if len(models) == 1 else f"{len(models)} models"
    sizes = ", ".join(map(str, settings.batch_sizes))
    engines = " or ".join(dict.fromkeys(model.engine.description for model in models))
    rows = [
        ("callers", _callers(settings)),
        ("device", f"{engines}; photos go to it in batches of {sizes}"),
        (
            "photos",
            f"JPEG, PNG or WebP; at most {_bytes(settings.max_photo_bytes)} and "
            f"{settings.max_photo_pixels / 1e6:g} megapixels; {settings.max_batch_photos:,} in a batch",
        ),
        (
            "at a time",
            f"{settings.max_in_flight_photos:,} photos, {_bytes(settings.max_in_flight_bytes)}, "
            f"{settings.max_queue_wait:g} s of queueing; {settings.max_streams:,} streams of "
            f"{settings.max_in_flight_per_stream:,} photos; "
            f"{settings.max_concurrent_calls_per_client:,} calls per client",
        ),
        ("stop", f"Ctrl-C or SIGTERM; photos in work have {settings.grace_seconds:g} s to finish"),
    ]
    lines = [f"Serving {what} on {address}", ""]
    for row, model in enumerate(models[:MODELS_SHOWN]):
        lines += _row("" if row else "models" if len(models) > 1 else "model", _describe(model, len(models), default))
    if len(models) > MODELS_SHOWN:
        lines += _row("", f"and {len(models) - MODELS_SHOWN} more")
    if metrics_address:
        rows.append(("metrics", f"http://{metrics_address}/metrics"))
    for name, text in rows:
        lines += _row(name, text)
    if settings.model_repository is not None:
        lines += _row("new ones", f"looked for in {settings.model_repository} every {settings.poll_seconds:g} s")
    return "\n".join([*lines, ""])


def _row(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f" {name:<10}", subsequent_indent=INDENT, break_on_hyphens=False)


def _describe(model: ServedModel, models: int, default: str) -> str:
    bundle = model.bundle
    leaves = sum(len(leaves) for leaves in bundle.tree.leaves.values())
    note = ", the default" if models > 1 and bundle.name == default else ""
    constructors = ", ".join(bundle.tree.constructors)
    return (
        f"{bundle.name} {bundle.version}{note}: {constructors}; {leaves:,} types; {bundle.width} x {bundle.height} "
        "pixels"
    )


def _callers(settings: Settings) -> str:
    who = "anybody" if settings.tokens is None else f"who has a token of {settings.tokens}"
    if settings.tls_client_ca is not None:
        who += f" and a certificate by {settings.tls_client_ca}"
    if settings.tls_cert is not None:
        return f"{who}; over TLS"
    return f"{who}; not encrypted" + (", though others can listen (--insecure)" if settings.insecure else "")


def _bytes(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
