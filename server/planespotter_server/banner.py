"""Startup banner: what `planespotter serve` prints once it is ready, at most 80 columns wide."""

import textwrap
from collections.abc import Sequence

from planespotter_photos.counts import count_noun
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings

WIDTH = 80
INDENT = " " * 11
MAX_MODELS = 8


def startup_banner(
    address: str,
    models: Sequence[ServedModel],
    default: str,
    settings: Settings,
    metrics_address: str = "",
) -> str:
    """Describe the server.

    Args:
        address: HOST:PORT.
        models: The served models.
        default: Name of the default model.
        settings: The settings.
        metrics_address: HOST:PORT of the metrics; empty if they are off.

    Returns:
        Lines, of which the first ends with the address: other programs parse it.
    """
    first = models[0].bundle
    title = f"{first.name} {first.version}" if len(models) == 1 else count_noun(len(models), "model")
    sizes = ", ".join(map(str, settings.batch_sizes))
    engines = " or ".join(dict.fromkeys(model.engine.description for model in models))
    rows = [
        ("access", _access(settings)),
        ("device", f"{engines}; batch sizes {sizes}"),
        (
            "photos",
            f"JPEG, PNG or WebP; at most {_bytes(settings.max_photo_bytes)} and "
            f"{settings.max_photo_pixels / 1e6:g} megapixels; {settings.max_batch_photos:,} in a batch",
        ),
        (
            "in flight",
            f"{count_noun(settings.max_in_flight_photos, 'photo')}, {_bytes(settings.max_in_flight_bytes)}, "
            f"{settings.max_queue_wait:g} s of queueing; {count_noun(settings.max_streams, 'stream')} of "
            f"{count_noun(settings.max_in_flight_per_stream, 'photo')}; "
            f"{count_noun(settings.max_concurrent_calls_per_client, 'call')} per client",
        ),
        ("stop", f"Ctrl-C or SIGTERM; photos in flight have {settings.grace_seconds:g} s to finish"),
    ]
    lines = [f"Serving {title} on {address}", ""]
    for row, model in enumerate(models[:MAX_MODELS]):
        lines += _row("" if row else "models" if len(models) > 1 else "model", _describe(model, len(models), default))
    if len(models) > MAX_MODELS:
        lines += _row("", f"and {len(models) - MAX_MODELS} more")
    if settings.workers > 1:
        share = f"{settings.workers} processes, each with an equal share of the cores and the limits"
        rows.insert(2, ("workers", share))
    if metrics_address:
        rows.append(("metrics", f"http://{metrics_address}/metrics"))
    for name, text in rows:
        lines += _row(name, text)
    if settings.model_repository is not None:
        lines += _row("updates", f"{settings.model_repository} is scanned every {settings.poll_seconds:g} s")
    return "\n".join([*lines, ""])


def _row(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f" {name:<10}", subsequent_indent=INDENT, break_on_hyphens=False)


def _describe(model: ServedModel, models: int, default: str) -> str:
    bundle = model.bundle
    leaves = sum(len(leaves) for leaves in bundle.tree.leaves.values())
    note = ", the default" if models > 1 and bundle.name == default else ""
    constructors = ", ".join(bundle.tree.constructors)
    return (
        f"{bundle.name} {bundle.version}{note}: {constructors}; {count_noun(leaves, 'type')}; {bundle.width} x "
        f"{bundle.height} pixels"
    )


def _access(settings: Settings) -> str:
    clients = "anyone" if settings.tokens is None else f"clients with a token of {settings.tokens}"
    if settings.tls_client_ca is not None:
        clients += f" and a certificate signed by {settings.tls_client_ca}"
    if settings.tls_cert is not None:
        return f"{clients}; over TLS"
    return f"{clients}; unencrypted" + (", readable for others on the way (--insecure)" if settings.insecure else "")


def _bytes(size: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} bytes"
