"""The command line: wires the parts together. Imports nothing heavy before a command needs it."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from harness.cli import environment, final_test, model, report, run, server
from harness.cli.command import Commands
from harness.cli.data import data_app
from harness.errors import HarnessError, first_line
from harness.interruption import interrupt_on_signals
from harness.paths import printable
from harness.processes import redirect

app = Commands(pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

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
        _end_with(str(error), error.exit_code)
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            # What is left in its buffer would fail once more at the end.
            redirect(1)
            _end_with(f"what was to be printed cannot be written ({error.strerror}). Free some space.", 1)
        if error.filename is None:
            raise
        # Of a file that no one expected to fail: a lock, a quota, a disk that goes away.
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
        why = error.strerror or first_line(error)
        _end_with(
            f"{printable(name)}: cannot be used ({why}). Check that place and its permissions.", HarnessError.exit_code
        )


def _end_with(message: str, status: int) -> NoReturn:
    for number, line in enumerate(message.split("\n")):
        sys.stderr.write(f"{'' if number else 'error: '}{printable(line)}\n")
    sys.exit(status)
