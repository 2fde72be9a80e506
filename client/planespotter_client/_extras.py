"""Extras: the command that installs the packages of an extra."""

import json
import shlex
import urllib.parse
from functools import cache
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
    from importlib import metadata  # here, as it loads zipfile and email, and most runs need no extra

    try:
        origin = metadata.distribution("planespotter").read_text("direct_url.json")
        url = urllib.parse.urlsplit(json.loads(origin or "{}").get("url", ""))
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None
    folder = Path(urllib.parse.unquote(url.path))
    return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None
