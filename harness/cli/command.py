"""What all commands do alike: a tilde in a path is a home folder, and a signal ends them with one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from harness.addresses import without_tilde
from harness.interruption import exit_status

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command of `harness`."""

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return what it does, in one sentence that is cut nowhere: a list of commands wraps it."""
        return super().get_short_help_str(sys.maxsize)

    def invoke(self, ctx: Any) -> Any:
        """Carry it out."""
        ctx.params = {name: without_tilde(value) for name, value in ctx.params.items()}
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(exit_status(interrupt)) from None


class Commands(typer.Typer):
    """A group of such commands; their help is plain text, for drawing it would take longer than all else together."""

    def __init__(self, **options: Any) -> None:
        super().__init__(no_args_is_help=True, rich_markup_mode=None, **options)

    def command(self, *arguments: Any, **options: Any) -> Callable[[Function], Function]:
        """Take up a command."""
        return super().command(*arguments, **{"cls": Command, **options})
