"""The walls between the rooms: who may import whom, and what stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("scraping", "models", "training", "server", "client")

# The one module of another room that each room may import: the format that it reads.
DOORS = {
    "scraping": (),
    "models": (),
    "training": ("planespotter_scraping.catalog", "planespotter_models"),
    "server": ("planespotter_models", "planespotter.v1"),
    "client": ("planespotter.v1",),
}


def imports(file: Path) -> Iterator[str]:
    """Yield the full names of the modules and members that `file` imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_format_module_of_the_room_before_it(room: str) -> None:
    files = list((REPOSITORY / room).rglob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            package = name.partition(".")[0]
            if package.startswith("planespotter") and package != f"planespotter_{room}":
                allowed = any(name == door or name.startswith(f"{door}.") for door in DOORS[room])
                assert allowed, f"{file.relative_to(REPOSITORY)} imports {name}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("planespotter_client", ["jax", "numpy", "pandas", "playwright", "flax"]),
        ("planespotter_client.commands.main", ["jax", "numpy", "pandas", "playwright", "flax"]),
        ("planespotter_scraping.catalog", ["jax", "playwright", "crawlee", "PIL"]),
        (
            "planespotter_models",
            ["jax", "openvino", "flax", "optax", "tensorflow_datasets", "pandas", "playwright"],
        ),
        ("planespotter_scraping.cli", ["playwright", "crawlee", "pandas"]),
        ("planespotter_scraping.crawling.crawl", ["playwright", "crawlee"]),  # a walk through an API needs neither
        ("planespotter_training.cli", ["jax", "flax", "pandas"]),
        ("planespotter_server.cli", ["jax", "grpc", "numpy"]),
    ],
)
def test_the_doors_are_light(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
