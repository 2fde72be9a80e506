"""Function size: no function over 100 lines, no parameter list over 10 outside the commands of the command line."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("scraping", "models", "training", "server", "bulk", "client", "scripts", "examples", "tests")
MAX_LINES = 100
MAX_PARAMETERS = 10


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function of the project with its file."""
    for folder in FOLDERS:
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield file.relative_to(REPOSITORY), node


def parameter_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many parameters a function has, without `self` and `cls`."""
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_command(file: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is a command: its parameters, annotated or not, are the options that users see."""
    names = {ast.unparse(decorator).partition("(")[0].rpartition(".")[2] for decorator in node.decorator_list}
    return "command" in names or f"command()({node.name})" in (REPOSITORY / file).read_text(encoding="utf-8")


def test_no_function_is_longer_than_a_hundred_lines() -> None:
    assert len(list(functions())) > 1000
    long = [
        f"{file}:{node.lineno} {node.name} has {lines} lines"
        for file, node in functions()
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_LINES
    ]
    assert not long


def test_no_parameter_list_is_longer_than_ten_outside_commands() -> None:
    crowded = [
        f"{file}:{node.lineno} {node.name} has {count} parameters"
        for file, node in functions()
        if (count := parameter_count(node)) > MAX_PARAMETERS and not is_command(file, node)
    ]
    assert not crowded
