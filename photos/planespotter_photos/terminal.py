"""Terminal output that all commands share. Imports Typer, which every command has loaded, only when it is used."""


def print_error(error: object) -> None:
    """Print an error for the user to stderr: "error: " and its text."""
    import typer

    typer.secho("error: ", err=True, nl=False, fg="red", bold=True)
    typer.echo(error, err=True)
