"""The commands of the server: `planespotter serve` and `planespotter token`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from planespotter_photos.terminal import print_error
from planespotter_server.settings import (
    ServerError,
    Settings,
    default_text,
    load_settings,
    option_name,
    option_of,
    value_type,
)

app = typer.Typer()

token_app = typer.Typer(
    name="token", help="Create, list and revoke the access tokens of clients.", no_args_is_help=True
)
app.add_typer(token_app)

Command = Callable[..., None]


def with_setting_options(command: Command) -> Command:
    """Give `command` an option for each setting, in place of its `**options`."""
    signature = inspect.signature(command)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "options"]
    parameters += [_parameter(name, field) for name, field in Settings.model_fields.items()]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    option, kind, default = option_of(field), value_type(field), default_text(field)
    flag = option_name(name)
    flags = [flag, f"--no-{flag.removeprefix('--')}"] if kind is bool else [flag]
    info = typer.Option(
        "/".join(flags),
        help=f"{option.help} (default: {default})" if default else option.help,
        show_default=False,
        metavar=option.metavar,
        rich_help_panel=option.panel,
    )
    annotation = Annotated[kind | None, info]  # type: ignore[valid-type]  # None: not given, so the environment, the file or the default counts
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


@app.command()
@with_setting_options
def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with any of the settings below, such as max_delay_ms = 2.",
            show_default=False,
            metavar="<file>",
        ),
    ] = None,
    **options: Any,
) -> None:
    """Serve model bundles over gRPC.

    Example: planespotter serve --model bundles/small --port 50051

    Example: planespotter serve --model-repository bundles --config serve.toml

    Example: planespotter serve --model bundles/small --host 0.0.0.0 --tls-cert server.pem --tls-key server.key
    --tokens tokens.txt

    Once ready, it prints its address, models and limits to stdout; the first line ends with the address.

    SIGTERM, SIGHUP or Ctrl-C drains: photos in flight finish. A second signal stops immediately.

    Each option can also be set in the environment (--max-delay-ms as PLANESPOTTER_MAX_DELAY_MS) and in the TOML file
    of --config (max_delay_ms). Options have precedence over the environment, and the environment over the file.

    Exit codes: 0 stopped, all accepted photos have a result; 1 startup failed, or a second signal or the end of the
    grace period dropped photos; 2 wrong usage; 75 the device or gRPC's listener failed, restart the server.
    """
    import asyncio
    import signal
    import sys

    # The imports below take seconds, and the first process of a container ignores SIGTERM unless it handles it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    from planespotter_models import BundleError
    from planespotter_server.observability.logging import configure_logging
    from planespotter_server.server import event_loop, exit_process
    from planespotter_server.workers import serve_with_workers

    settings = load_settings(config, **options)
    configure_logging()
    with asyncio.Runner(loop_factory=event_loop) as runner:
        try:
            code = runner.run(serve_with_workers(settings, typer.echo))
        except (ServerError, BundleError) as error:
            print_error(error)
            code = 1
        exit_process(code)  # within the block: its end waits for threads, such as one with a network that never ends


TokensFile = Annotated[
    Path, typer.Option(help="File with the hashes of the tokens.", dir_okay=False, show_default=False)
]
Name = Annotated[str, typer.Argument(help="Name of the client that the token is for.", show_default=False)]


@token_app.command()
def new(
    name: Name,
    tokens: TokensFile,
    max_calls: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of concurrent calls with this token. (default: --max-concurrent-calls-per-client of "
            "the server)",
            min=1,
            show_default=False,
        ),
    ] = None,
    photos_per_second: Annotated[
        float | None, typer.Option(help="Rate limit, in photos per second. (default: no limit)", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to create for the token, readable only by you; without it, the token goes to stdout.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create a token and show it once: the file of tokens stores only its hash.

    Example: planespotter token new archive --tokens tokens.txt --photos-per-second 50 --out archive.token

    The client reads it from a file (planespotter classify --token-file archive.token) or from the variable
    PLANESPOTTER_TOKEN. A running server accepts it within a second.
    """
    from planespotter_server.auth.tokens import add_token, create_secret_file

    if out is None:
        typer.echo(add_token(tokens, name, max_calls, photos_per_second))
        return
    with create_secret_file(out) as file:
        file.write(add_token(tokens, name, max_calls, photos_per_second) + "\n")
    typer.echo(f"The token of {name} is in {out}.", err=True)


@token_app.command("list")
def list_tokens(tokens: TokensFile) -> None:
    """List the clients that have a token, and their limits.

    Example: planespotter token list --tokens tokens.txt
    """
    from planespotter_server.auth.tokens import read_tokens

    for token in read_tokens(tokens).values():
        limits = [
            f"max_calls={token.max_calls}" if token.max_calls is not None else "",
            f"photos_per_second={token.photos_per_second:g}" if token.photos_per_second is not None else "",
        ]
        typer.echo(" ".join(filter(None, (token.name, *limits))))


@token_app.command()
def revoke(name: Name, tokens: TokensFile) -> None:
    """Revoke a token. A running server rejects it within a second, also on open streams.

    Example: planespotter token revoke archive --tokens tokens.txt
    """
    from planespotter_server.auth.tokens import revoke_token

    revoke_token(tokens, name)
    typer.echo(f"The token of {name} is revoked.", err=True)
