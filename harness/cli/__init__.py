"""The command line: wires the parts together. Imports nothing heavy before a command needs it."""

from __future__ import annotations

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from harness.cli import environment, final_test, model, report, run, server
from harness.cli.command import Commands
from harness.cli.data import data_app
from harness.errors import HarnessError
from harness.interruption import interrupt_on_signals

app = Commands(no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("harness"))
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Which architecture classifies my music best within this GPU memory, by how much, and what would more buy?

    Examples:

        harness run all --quick

        harness data check ~/music

        harness --install-completion
    """


for _command in (
    *(run.run, final_test.final, report.report, model.predict, model.export, server.ui, server.sync),
    *(environment.families, environment.doctor),
):
    app.command()(_command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; a user's mistake is printed without a traceback."""
    interrupt_on_signals()
    for stream in (sys.stdout, sys.stderr):
        # A name that a terminal's encoding lacks ends no command. JSON is ASCII throughout, and stays as it is.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
