"""With what a file of answers was begun, so that no later run mixes other answers in.

That is one line of JSON in a hidden file beside it, ".answers.csv.begun", as CSV has no place for it. A file that has
none, because it came from elsewhere, say, is gone on with unasked.
"""

import json
from pathlib import Path
from typing import Any

from planespotter_client.classify.answer_log import AnswersError, replacing
from planespotter_client.classify.parquet import journal_of

WORDS = {
    "alternatives": "--alternatives {}".format,
    "shrink": lambda shrink: "--shrink" if shrink else "photos as they are",
    "network": "answers of {}".format,
}


def with_what(out: Path) -> dict[str, Any]:
    """Return what the file of answers `out` was begun with; nothing if there is none, or that is not known."""
    if not (out.exists() or journal_of(out).exists()):  # what stands beside it is about one that was deleted
        return {}
    try:
        noted = json.loads(_beside(out).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def check(out: Path, **settings: Any) -> None:
    """Raise AnswersError if `out` was begun with other `settings`, each of WORDS."""
    noted = with_what(out)
    for name, value in settings.items():
        if noted.get(name, value) != value:
            raise AnswersError(
                f"{out} was begun with {WORDS[name](noted[name])}, and this would add {WORDS[name](value)}. Go on with "
                "what it was begun with, name another --out, or begin it anew with --overwrite."
            )


def note(out: Path, **settings: Any) -> None:
    """Note that `out` is begun with these `settings`, each of WORDS."""
    with replacing(_beside(out)) as file:
        file.write(json.dumps(settings).encode() + b"\n")


def forget(out: Path) -> None:
    """Forget what `out` was begun with."""
    _beside(out).unlink(missing_ok=True)


def _beside(out: Path) -> Path:
    return out.with_name(f".{out.name}.begun")
