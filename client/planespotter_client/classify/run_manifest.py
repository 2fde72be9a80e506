"""Run manifest: the model and settings of an output file, so that no later run appends other results.

It is one line of JSON in a hidden file next to the output, ".results.csv.manifest", because CSV has no place for it.
An output file without a manifest, such as one that was copied from elsewhere, is resumed without a check.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planespotter_client.classify.answer_log import AnswerLogError
from planespotter_client.classify.parquet import log_path_of
from planespotter_client.commands.atomic_write import atomic_write

DESCRIPTIONS: dict[str, Callable[[Any], str]] = {
    "top_k": "--top-k {}".format,
    "downscale": lambda downscale: "--downscale" if downscale else "photos at full size",
    "min_probability": lambda value: "the thresholds of the model" if value is None else f"--min-probability {value:g}",
    "prior": lambda value: "no prior" if value is None else f"the prior {value}",
    "model": "results of {}".format,
}


def read(out: Path) -> dict[str, Any]:
    """Return the manifest of the output file `out`; empty if there is none, or no output."""
    if not (out.exists() or log_path_of(out).exists()):  # the manifest belongs to an output that was deleted
        return {}
    try:
        manifest = json.loads(_manifest_path(out).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def check(out: Path, **settings: Any) -> None:
    """Compare `settings`, keys of DESCRIPTIONS, with the manifest of `out`.

    Raises:
        AnswerLogError: A setting differs.
    """
    manifest = read(out)
    for name, value in settings.items():
        if manifest.get(name, value) != value:
            describe = DESCRIPTIONS[name]
            raise AnswerLogError(
                f"{out} was started with {describe(manifest[name])}, and this run would append {describe(value)}. "
                "Use the same settings, name another --out, or replace the file with --overwrite."
            )


def write(out: Path, **settings: Any) -> None:
    """Write the manifest of `out`: `settings`, keys of DESCRIPTIONS, and others that no run compares."""
    with atomic_write(_manifest_path(out)) as file:
        file.write(json.dumps(settings).encode() + b"\n")


def delete(out: Path) -> None:
    """Delete the manifest of `out`, if there is one."""
    _manifest_path(out).unlink(missing_ok=True)


def _manifest_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.manifest")
