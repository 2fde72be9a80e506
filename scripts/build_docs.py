"""Reference documentation: generate HTML pages of the Python code, the contract and the commands: `make docs`.

The text comes from docstrings, from comments in the .proto files and from the help of the commands, so it is always up
to date; a test fails where there is none.
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pdoc
import typer.main
from google.protobuf import descriptor_pb2
from scripts.generate_protos import protoc

from planespotter_client.commands.main import build_app

OUT = Path(__file__).resolve().parent.parent / "build" / "docs"
# The public API: the client, and the formats that connect the packages.
MODULES = ("planespotter_client", "planespotter_photos", "planespotter_scraping.catalog", "planespotter_models")


@dataclass
class Section:
    """An entry of the reference with its parts: a message with its fields, a command with its options."""

    name: str
    kind: str
    text: str
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, type (empty for commands) and description."""


def contract() -> list[Section]:
    """Return the introduction of the contract, then its services, messages and enums in order."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        protoc("--include_source_info", f"--descriptor_set_out={image}")
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return [section for file in files for section in _sections(file)]


def _sections(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Section]:
    # A place in the file is a path of field numbers and indices, such as (4, 0, 2, 1): message 0, field 1.
    texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    numbers = {part.name: part.number for part in descriptor_pb2.FileDescriptorProto.DESCRIPTOR.fields}
    yield Section(file.name, "file", texts.get((numbers["syntax"],), ""))
    for i, service in enumerate(file.service):
        here = (numbers["service"], i)
        rows = [(method.name, _call(method), texts.get((*here, 2, j), "")) for j, method in enumerate(service.method)]
        yield Section(service.name, "service", texts.get(here, ""), rows)
    for i, message in enumerate(file.message_type):
        here = (numbers["message_type"], i)
        rows = [(part.name, _type(part), texts.get((*here, 2, j), "")) for j, part in enumerate(message.field)]
        yield Section(message.name, "message", texts.get(here, ""), rows)
    for i, enum in enumerate(file.enum_type):
        here = (numbers["enum_type"], i)
        rows = [(value.name, str(value.number), texts.get((*here, 2, j), "")) for j, value in enumerate(enum.value)]
        yield Section(enum.name, "enum", texts.get(here, ""), rows)


def _call(method: descriptor_pb2.MethodDescriptorProto) -> str:
    request, response = (name.rpartition(".")[2] for name in (method.input_type, method.output_type))
    return (
        f"{'stream ' if method.client_streaming else ''}{request} → "
        f"{'stream ' if method.server_streaming else ''}{response}"
    )


def _type(part: descriptor_pb2.FieldDescriptorProto) -> str:
    kind = part.type_name.removeprefix(".planespotter.v1.").removeprefix(".")
    kind = kind or descriptor_pb2.FieldDescriptorProto.Type.Name(part.type).removeprefix("TYPE_").lower()
    if part.proto3_optional:
        return f"optional {kind}"
    return f"repeated {kind}" if part.label == part.LABEL_REPEATED else kind


def commands() -> list[Section]:
    """Return all commands with their arguments and options, in the order of `planespotter --help`."""
    return list(_commands(typer.main.get_command(build_app()), "planespotter"))


def _commands(command: Any, name: str) -> Iterator[Section]:
    for word, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{name} {word}")
    if not hasattr(command, "commands"):
        context = command.context_class(command)
        helps = [part.get_help_record(context) for part in command.params if not getattr(part, "hidden", False)]
        yield Section(name, "command", command.help or "", [(part, "", text) for part, text in filter(None, helps)])


def write(out: Path) -> None:
    """Write index.html, contract.html, commands.html and python/ to the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("reference.html.jinja")
    pages = {"contract": ("gRPC contract", contract()), "commands": ("Commands", commands())}
    for name, (title, sections) in pages.items():
        (out / f"{name}.html").write_text(template.render(title=title, sections=sections), encoding="utf-8")
    (out / "index.html").write_text(template.render(title="planespotter: reference", sections=[]), encoding="utf-8")
    # Names imported only for type checkers are shown as written.
    warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*MODULES, output_directory=out / "python")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the reference as HTML pages.")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default: build/docs)")
    out = parser.parse_args().out
    write(out)
    print(f"Wrote {out / 'index.html'}")
