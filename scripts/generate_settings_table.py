"""Generate the table of server settings in docs/operating.md from their declarations.

Run `python -m scripts.generate_settings_table` after a change in server/planespotter_server/settings.py; a test
compares the page with what this would write.
"""

from itertools import groupby
from pathlib import Path

from planespotter_server.settings import Settings, default_text, option_name, option_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operating.md"
START, END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def settings_table() -> str:
    """Return the settings as Markdown: a table for each panel of `planespotter serve --help`."""
    lines: list[str] = []
    for panel, fields in groupby(Settings.model_fields.items(), key=lambda item: option_of(item[1]).panel):
        lines += ["", f"**{panel}**", "", "| option | default | description |", "|---|---|---|"]
        for name, field in fields:
            option = option_of(field)
            text = " ".join(filter(None, (option.help, option.advice)))
            lines.append(f"| `{option_name(name)}` | {default_text(field)} | {text} |")
    return "\n".join([*lines, "", ""])


def updated(page: str) -> str:
    """Return `page` with the current table."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return head + START + settings_table() + END + tail


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
