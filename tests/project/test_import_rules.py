"""Import rules: which package may import which, layers within a package, no import cycles, light interfaces."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# What each package may import of the others: the formats that it reads or writes, not the modules within a catalog's
# package.
INTERFACES = {
    "photos": (),
    "scraping": ("planespotter_photos",),
    "models": ("planespotter_photos",),
    "training": ("planespotter_scraping.catalog", "planespotter_models"),
    "server": ("planespotter_models", "planespotter_photos", "planespotter.v1"),
    "bulk": ("planespotter_models", "planespotter_photos"),
    "client": (
        *("planespotter_models", "planespotter_photos", "planespotter_scraping.labels"),
        *("planespotter_scraping.reviewing", "planespotter.v1"),
    ),
}

# The folders and top-level modules of each package, lowest layer first. One imports only those before it; `_*` stands
# for the private modules of the SDK, `__init__` for the package's own table of contents.
LAYERS = {
    "photos": (
        "errors",
        "counts",
        "terminal",
        "exif",
        "formats",
        "housekeeping",
        "inspection",
        "reading",
        "conversion",
        "__init__",
    ),
    "scraping": (
        "atomic_write",
        "labels",
        "images",
        "catalog",
        "sites",
        "sample_site",
        "crawling",
        "console",
        "render",
        "cleaning",
        "explore",
        "reviewing",
        "cli_catalog",
        "cli",
        "__init__",
    ),
    "models": (
        "label_tree",
        "preprocess",
        "architecture",
        "weight_quantization",
        "stablehlo_allowlist",
        "prior",
        "grouping",
        "prediction",
        "bundle_format",
        "engines",
        "__init__",
    ),
    "training": (
        "errors",
        "atomic_write",
        "phases",
        "recipes",
        "run_folder",
        "network",
        "data",
        "evaluation",
        "loop",
        "export",
        "reports",
        "cli",
        "__init__",
    ),
    "server": (
        "settings",
        "atomic_write",
        "rejections",
        "serving",
        "models",
        "auth",
        "observability",
        "rpc",
        "banner",
        "server",
        "workers",
        "cli",
        "__init__",
    ),
    "bulk": (
        "errors",
        "storage",
        "manifest",
        "listing",
        "answers",
        "classifier",
        "in_hand",
        "job",
        "worker",
        "progress",
        "ray_cluster",
        "run",
        "account",
        "cli",
        "__init__",
    ),
    "client": ("_*", "__init__", "commands", "classify", "decide", "convert", "web", "review", "bench"),
}


@cache
def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package by their full names."""
    top = REPOSITORY / package
    files = (file for file in top.rglob("*.py") if not file.stem.endswith(("_pb2", "_pb2_grpc")))
    return {".".join(file.relative_to(top).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> Iterator[str]:
    """Yield the full names of the modules and members that `file` imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(package: str, name: str) -> set[str]:
    """Return the modules of the same package that a module imports."""
    known = modules(package)
    names = {full if full in known else full.rpartition(".")[0] for full in imports(known[name])}
    return names & known.keys() - {name}


def layer(package: str, module: str) -> str:
    """Return the folder or top-level module of a package that a module belongs to."""
    part = module.split(".")[1] if "." in module else "__init__"
    return "_*" if package == "client" and part.startswith("_") and part != "__init__" else part


def is_interface(name: str, interface: str) -> bool:
    """Return whether an imported name is an interface or one of its members; its private modules are not."""
    if name == interface:
        return True
    module = f"{interface}.{name.removeprefix(f'{interface}.').partition('.')[0]}"
    inner = interface == "planespotter_scraping.catalog" and module in modules("scraping")
    return name.startswith(f"{interface}.") and not inner


@pytest.mark.parametrize("package", INTERFACES)
def test_a_package_imports_only_the_interfaces_of_others(package: str) -> None:
    assert modules(package)
    for file in modules(package).values():
        for name in imports(file):
            other = name.partition(".")[0]
            if other.startswith("planespotter") and other != f"planespotter_{package}":
                allowed = any(is_interface(name, door) for door in INTERFACES[package])
                assert allowed, f"{file.relative_to(REPOSITORY)} imports {name}"


@pytest.mark.parametrize("package", INTERFACES)
def test_there_is_no_import_cycle(package: str) -> None:
    graph = {name: imported_modules(package, name) for name in modules(package)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("package", LAYERS)
def test_no_folder_imports_one_of_a_higher_layer(package: str) -> None:
    assert {layer(package, name) for name in modules(package)} == set(LAYERS[package])
    height = {name: index for index, name in enumerate(LAYERS[package])}
    upwards = [
        f"{name} imports {other}"
        for name in modules(package)
        for other in imported_modules(package, name)
        if height[layer(package, other)] > height[layer(package, name)]
    ]
    assert not upwards


def test_the_architecture_page_lists_the_layers() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in LAYERS.keys() - {"client"}:  # the SDK's modules are private
        row = re.search(rf"^\| `{package}/` \| (`[`a-z_, ]+`) \|$", page, re.MULTILINE)
        assert row, package
        assert tuple(re.findall(r"\w+", row[1])) == tuple(name for name in LAYERS[package] if name != "__init__")


def test_serving_knows_no_grpc() -> None:
    files = list((REPOSITORY / "server" / "planespotter_server" / "serving").rglob("*.py"))
    assert files
    for file in files:
        roots = {name.partition(".")[0] for name in imports(file)}
        assert not roots & {"grpc", "grpc_status", "google", "planespotter"}, file


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
        ("planespotter_scraping.crawling.crawl", ["playwright", "crawlee"]),  # a crawl through an API needs neither
        ("planespotter_training.cli", ["jax", "flax", "pandas"]),
        ("planespotter_server.cli", ["jax", "grpc", "numpy"]),
        ("planespotter_bulk.cli", ["jax", "numpy", "pyarrow", "ray"]),
    ],
)
def test_interfaces_import_no_heavy_dependency(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
