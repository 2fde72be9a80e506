"""Log events: docs/operating.md documents exactly those that the server logs, with their levels."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import planespotter_server

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "operating.md"


def constant(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), f"not a constant, so it cannot be documented: {ast.unparse(node)}"
    assert isinstance(node.value, str)
    return node.value


def logged_events(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the name and the level of each event that a module logs; "" for a level that is chosen at run time."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level), args=args) if level in LEVELS:
                yield constant(args[0]), level
            case ast.Call(func=ast.Call(func=ast.Name("getattr"), args=[ast.Name("log"), _]), args=[first, *_]):
                yield constant(first), ""
            case ast.Dict(keys=keys, values=values):
                entries = {ast.unparse(key): value for key, value in zip(keys, values, strict=True) if key is not None}
                if "'event'" in entries:
                    yield constant(entries["'event'"]), constant(entries["'level'"])


def documented_events() -> dict[str, set[str]]:
    """Return the levels of each event in the table."""
    table = re.search(r"^\| log event \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert table is not None
    events: dict[str, set[str]] = {}
    for row in table[1].splitlines():
        _, names, levels, meaning, _ = (cell.strip() for cell in row.split("|"))
        assert meaning
        for name in re.findall(r"`(\w+)`", names):
            assert name not in events, f"{name} is in two rows"
            events[name] = set(levels.split(", "))
    return events


def test_operating_page_has_each_log_event_with_its_levels() -> None:
    logged: dict[str, set[str]] = {}
    for file in Path(planespotter_server.__file__).parent.rglob("*.py"):
        for event, level in logged_events(ast.parse(file.read_text(encoding="utf-8"))):
            logged.setdefault(event, set()).add(level)
    assert logged["library_log"] == {""}
    assert documented_events() == logged | {"library_log": {"warning", "error"}}
