"""Label Studio: tasks with predictions for its Taxonomy tag, and the labeling configuration that they need."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from planespotter_client.commands.atomic_write import atomic_write
from planespotter_client.convert.results import Row, check_photos

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files of the machine that it runs on."""
FROM_NAME, TO_NAME = "aircraft", "image"


def write_tasks(rows: Iterable[Row], source: Path, out: Path, url: str, leaves: Sequence[Sequence[str]]) -> int:
    """Write a JSON file of tasks, and the configuration next to it, with the suffix .xml.

    Args:
        rows: Results; each photo is a task, with the whole path as its prediction, also where it is a guess.
        source: File that they are from.
        out: File to write.
        url: Start of the URL of a photo; its path follows.
        leaves: Types to choose from; those of the results are added.

    Returns:
        The number of tasks.

    Raises:
        ConvertError: The results are frames of a video.
    """
    tasks: list[dict[str, Any]] = []
    choices: dict[str, Any] = {}
    for path in leaves:
        _add_choice(choices, path)
    for row in rows:
        check_photos(row, source)
        _add_choice(choices, row.guess)
        tasks.append(task(row, url))
    with atomic_write(out) as file:
        file.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n")
    with atomic_write(out.with_suffix(".xml")) as file:
        file.write(configuration(choices).encode())
    return len(tasks)


def task(row: Row, url: str) -> dict[str, Any]:
    """Return the task of a photo."""
    data = {"image": url + quote(row.file), "file": row.file}
    if not row.guess:
        return {"data": data}
    result = {
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "type": "taxonomy",
        "value": {"taxonomy": [list(row.guess)]},
    }
    return {"data": data, "predictions": [{"model_version": row.network, "score": row.probability, "result": [result]}]}


def configuration(choices: dict[str, Any]) -> str:
    """Return the labeling configuration for a tree of choices."""
    lines = "\n".join(_choice_lines(choices, 4))
    return f"""\
<View>
  <Image name="{TO_NAME}" value="$image"/>
  <Taxonomy name="{FROM_NAME}" toName="{TO_NAME}" leafsOnly="false">
{lines}
  </Taxonomy>
</View>
"""


def _add_choice(choices: dict[str, Any], path: Sequence[str]) -> None:
    for name in path:
        choices = choices.setdefault(name, {})


def _choice_lines(choices: dict[str, Any], indent: int) -> list[str]:
    lines = []
    for name, below in choices.items():
        start = f"{' ' * indent}<Choice value={quoteattr(name)}"
        lines += (
            [f"{start}>", *_choice_lines(below, indent + 2), f"{' ' * indent}</Choice>"] if below else [f"{start}/>"]
        )
    return lines
