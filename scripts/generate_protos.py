"""Generate the Python code next to each .proto file, and lint the files with buf: `make protos`.

The output is reproducible: it depends only on the .proto files and on the exact versions of grpcio-tools and
mypy-protobuf in pyproject.toml; a test checks it. google/rpc/status.proto comes from the googleapis-common-protos
package, so this project has no copy of it.
"""

import argparse
import importlib.resources
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROTOS = REPOSITORY / "protos"
SCRIPTS = Path(sysconfig.get_path("scripts"))


def protoc(*arguments: str) -> None:
    """Run protoc on all .proto files of this project."""
    includes = [PROTOS, importlib.resources.files("grpc_tools") / "_proto", Path(sysconfig.get_path("purelib"))]
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{include}" for include in includes), *arguments, *sources],
        check=True,
        cwd=PROTOS,
    )


def generate(out: Path) -> None:
    """Write *_pb2.py, *_pb2_grpc.py and their type stubs below `out`."""
    protoc(
        f"--plugin=protoc-gen-mypy={SCRIPTS / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={SCRIPTS / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
    )


def lint() -> None:
    """Lint the .proto files with buf's STANDARD and COMMENTS rules (configured in buf.yaml)."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        subprocess.run([SCRIPTS / "buf", "lint", image, "--config", REPOSITORY / "buf.yaml"], check=True)


def stale() -> list[str]:
    """Return the generated files that are out of date."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*_pb2*")}
    committed = {
        path.relative_to(PROTOS): path.read_bytes() for path in PROTOS.rglob("*_pb2*.py*") if path.suffix != ".pyc"
    }
    return sorted(str(name) for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the code next to each .proto file, and lint the files.")
    parser.add_argument("--check", action="store_true", help="fail if the generated code is out of date; write nothing")
    if not parser.parse_args().check:
        generate(PROTOS)
    elif differing := stale():
        sys.exit(f"Out of date: {', '.join(differing)}. Run `make protos` and commit what it changes.")
    lint()
