"""The `planespotter` command: gathers the sub-commands of all rooms and turns their errors into sentences.

Each room defines its commands in its own cli.py, which imports nothing heavy until a command runs. So `--help`
is quick, and the commands of a room whose extra is not installed are listed all the same; running one says which
extra to install.
"""

import errno
import importlib
import inspect
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

# Room, and the extra that its commands need (None: the base installation is enough).
ROOMS = {"scraping": "scraping", "training": "training", "server": "server", "client": None}
# Parts of a room that need one of their own.
PARTS = {"planespotter_client.web": "web", "planespotter_server.observability.tracing": "tracing"}


class Commands(TyperGroup):
    """The root of all commands, which says in our words what is wrong with the value of an option."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = wrong_value(error)
            raise


def wrong_value(error: typer.BadParameter) -> str:
    """Return what to say about a value that Typer did not take: its own words are those of Pydantic's validators."""
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return error.message
    kind, given, limits = found[0]["type"], found[0]["input"], found[0].get("ctx", {})
    match kind:
        case "greater_than_equal":
            return f"it must be {limits['ge']:,.10g} or more, not {given}."
        case "less_than_equal":
            return f"it must be {limits['le']:,.10g} or less, not {given}."
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"it must be a whole number, not {given}."
        case "float_parsing":
            return f"it must be a number, not {given}."
    return error.message.removeprefix("Value error, ")


def build_app() -> typer.Typer:
    """Return one application that holds the commands of all rooms."""
    app = typer.Typer(
        name="planespotter",
        cls=Commands,
        help="Name the aircraft in a photo, constructor first, then the model.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
        ] = False,
    ) -> None:
        """Do nothing: the option has been dealt with."""

    for room in ROOMS:
        module = "planespotter_client.commands.cli" if room == "client" else f"planespotter_{room}.cli"
        commands = importlib.import_module(module).app
        _let_help_flow(commands)
        app.registered_commands.extend(commands.registered_commands)
        app.registered_groups.extend(commands.registered_groups)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"planespotter {version('planespotter')}")
        raise typer.Exit


def _let_help_flow(app: typer.Typer) -> None:
    for command in app.registered_commands:
        command.help = flowing(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _let_help_flow(group.typer_instance)


def flowing(text: str) -> str:
    """Return `text` with each paragraph on one line, so that the terminal's width breaks it and not our source's."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return the extra that would bring the module which `error` misses, by the room whose code asked for it."""
    frame, extra = error.__traceback__, None
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package.startswith("planespotter_"):
            extra = ROOMS.get(package.removeprefix("planespotter_")) or extra
        for part, part_extra in PARTS.items():
            if f"{module}.".startswith(f"{part}."):
                extra = part_extra
        frame = frame.tb_next
    return extra


def sentence(error: Exception) -> str | None:
    """Return what to tell the user about `error`; None if it is a bug, which deserves its traceback.

    Every exception class of this project is written for users: its text says what was wrong and what to do; one whose
    exit code is not 1 has an `exit_code`. What the file system refuses (a folder that may not be written to, a full
    disk) is no bug either.
    """
    if isinstance(error, ModuleNotFoundError):
        extra = missing_extra(error)
        if extra is not None:
            return (
                f"This command needs the package {error.name!r}, which comes with the {extra!r} extra: "
                f"pip install 'planespotter[{extra}]'"
            )
    elif type(error).__module__.startswith("planespotter_"):
        return str(error)
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # a write does not name its file
        return f"{error.strerror}: make room and run the command again."
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        files = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{error.strerror}: {files}. Check that it is there, may be used and has space, or name another."
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 an error that a sentence explains, 2 wrong usage, 130 Ctrl-C."""
    for output in (sys.stdout, sys.stderr):
        # A file's name may hold what the terminal's encoding does not: write \\xe9 rather than fail.
        if isinstance(output, io.TextIOWrapper) and (output.errors == "strict" or output.encoding.lower() != "utf-8"):
            output.reconfigure(errors="backslashreplace")
    try:
        try:
            build_app()(args=arguments, prog_name="planespotter")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _end_without_reader()
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # Typer makes exit code 1 of it
            _end_without_reader()
        raise
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        typer.secho("error: ", err=True, nl=False, fg="red", bold=True)
        typer.echo(text, err=True)
        raise SystemExit(getattr(error, "exit_code", 1)) from None


def _end_without_reader() -> NoReturn:
    """End well: the reader of our output, such as `head`, has seen enough and gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
    raise SystemExit(0) from None


if __name__ == "__main__":
    main()
