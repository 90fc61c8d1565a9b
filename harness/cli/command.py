"""What all commands do alike: a tilde in a path is a home folder, and a signal ends them with one line."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from harness.addresses import without_tilde
from harness.interruption import exit_status


class Command(TyperCommand):
    """A command of `harness`."""

    def invoke(self, ctx: Any) -> Any:
        """Carry it out."""
        ctx.params = {name: without_tilde(value) for name, value in ctx.params.items()}
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(exit_status(interrupt)) from None
