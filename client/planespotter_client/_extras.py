"""Extras: the command that installs the packages of an extra."""

import json
import shlex
import urllib.parse
import urllib.request
from functools import cache
from importlib import metadata
from pathlib import Path


def install_command(extra: str) -> str:
    """Return the pip command that installs `extra`, to be used in error messages.

    planespotter is installed from a checkout, so the command names the checkout; an unknown one is the current folder.
    """
    checkout = _checkout()
    if checkout is None:
        return f"pip install '.[{extra}]' in a checkout of planespotter"
    return f"pip install {shlex.quote(f'{checkout}[{extra}]')}"


@cache
def _checkout() -> Path | None:
    """Return the folder that this package was installed from; None if pip does not know it or it was deleted."""
    try:
        origin = metadata.distribution("planespotter").read_text("direct_url.json")
        url = urllib.parse.urlsplit(json.loads(origin or "{}").get("url", ""))
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None
    folder = Path(urllib.request.url2pathname(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None
