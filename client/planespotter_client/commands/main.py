"""The `planespotter` command: the root that collects the commands of all packages and reports their errors.

Each package defines its commands in modules that import nothing heavy until a command runs. So `--help` is fast and
also lists the commands whose extra is not installed; running one of them names the extra to install. The root loads
these modules by name: it depends on every package, and none depends on it.
"""

import errno
import importlib
import inspect
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from planespotter_client._extras import install_command
from planespotter_photos.terminal import print_error

# Modules with an `app`, in the order in which help lists their commands: the pipeline, then what uses a server.
COMMAND_MODULES = (
    "planespotter_scraping.cli",
    "planespotter_scraping.render.cli",
    "planespotter_training.cli",
    "planespotter_server.cli",
    "planespotter_client.classify.cli",
    "planespotter_bulk.cli",
    "planespotter_client.decide.cli",
    "planespotter_client.convert.cli",
    "planespotter_client.web.cli",
    "planespotter_client.review.cli",
    "planespotter_client.bench.cli",
    "planespotter_client.commands.health",
    "planespotter_client.commands.demo",
)
# Extra that the code of a package or module needs; a later entry is a part of an earlier one.
EXTRAS = {
    "planespotter_scraping": "scraping",
    "planespotter_scraping.render": "render",
    "planespotter_training": "training",
    "planespotter_server": "server",
    "planespotter_server.observability.tracing": "tracing",
    "planespotter_bulk": "bulk",
    "planespotter_client.web": "web",
    "planespotter_client.classify.grouping": "parquet",
    "planespotter_client.decide": "parquet",
    "planespotter_client.convert.results": "parquet",
    "planespotter_client.convert.coco": "images",
    "planespotter_client.convert.excel": "excel",
    "planespotter_client.review": "web",
}


class RootGroup(TyperGroup):
    """The root command: rewords the validation errors of options, which otherwise read as Pydantic's."""

    def invoke(self, ctx: Any) -> Any:
        """Run the selected command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = validation_message(error)
            raise


def validation_message(error: typer.BadParameter) -> str:
    """Return the message for an option value that failed Typer's validation."""
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not details:
        return error.message
    kind, value, limits = details[0]["type"], details[0]["input"], details[0].get("ctx", {})
    match kind:
        case "greater_than_equal":
            return f"it must be {limits['ge']:,.10g} or more, not {value}."
        case "less_than_equal":
            return f"it must be {limits['le']:,.10g} or less, not {value}."
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"it must be a whole number, not {value}."
        case "float_parsing":
            return f"it must be a number, not {value}."
    return error.message.removeprefix("Value error, ")


def build_app() -> typer.Typer:
    """Return the application with the commands of all packages."""
    app = typer.Typer(
        name="planespotter",
        cls=RootGroup,
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
        """Do nothing: the callback of the option has run."""

    for module in COMMAND_MODULES:
        commands = importlib.import_module(module).app
        _unwrap_help(commands)
        app.registered_commands.extend(commands.registered_commands)
        app.registered_groups.extend(commands.registered_groups)
    return app


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"planespotter {version('planespotter')}")
        raise typer.Exit


def _unwrap_help(app: typer.Typer) -> None:
    for command in app.registered_commands:
        command.help = unwrap(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _unwrap_help(group.typer_instance)


def unwrap(text: str) -> str:
    """Return `text` with one line per paragraph, so that the terminal wraps it at its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return the extra that provides the missing module, by the innermost package that tried to import it."""
    frame, extra = error.__traceback__, None
    while frame is not None:
        module = str(frame.tb_frame.f_globals.get("__name__", ""))
        for prefix, prefix_extra in EXTRAS.items():
            if f"{module}.".startswith(f"{prefix}."):
                extra = prefix_extra
        frame = frame.tb_next
    return extra


def user_message(error: Exception) -> str | None:
    """Return the message for the user about `error`; None if it is a bug, which deserves its traceback.

    The text of every exception class of this project is written for users: what is wrong and how to fix it. One with
    an exit code other than 1 has an `exit_code`. File system errors (no permission, disk full) are not bugs either.
    """
    if isinstance(error, ModuleNotFoundError):
        extra = missing_extra(error)
        if extra is not None:
            return (
                f"This command needs the package {error.name!r}, which comes with the {extra!r} extra: "
                f"{install_command(extra)}"
            )
    elif type(error).__module__.startswith("planespotter_"):
        return str(error)
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # a write does not name its file
        return f"{error.strerror}: free some space and run the command again."
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        files = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{error.strerror}: {files}. Check that it exists, is accessible and has space, or name another."
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that caused `error`, the direct cause first."""
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 success, 1 an error with a message, 2 wrong usage, 130 Ctrl-C."""
    for output in (sys.stdout, sys.stderr):
        # A file name may have characters that the terminal cannot encode: write \\xe9 rather than fail.
        if isinstance(output, io.TextIOWrapper) and (output.errors == "strict" or output.encoding.lower() != "utf-8"):
            output.reconfigure(errors="backslashreplace")
    try:
        try:
            build_app()(args=arguments, prog_name="planespotter")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _exit_on_broken_pipe()
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # Typer turns it into exit code 1
            _exit_on_broken_pipe()
        raise
    except Exception as error:
        text = user_message(error)
        if text is None:
            raise
        print_error(text)
        if logging.getLogger("planespotter_client").isEnabledFor(logging.DEBUG):  # --verbose
            for cause in causes(error):
                typer.echo(f"caused by: {cause}", err=True)
        raise SystemExit(getattr(error, "exit_code", 1)) from None


def _exit_on_broken_pipe() -> NoReturn:
    """Exit with 0: the reader of our output, such as `head`, has closed the pipe because it has enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for output that is still to be flushed
    raise SystemExit(0) from None


if __name__ == "__main__":
    main()
