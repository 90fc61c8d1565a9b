"""Options that commands share, and those that are made from the settings of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from harness.interruption import exit_status
from harness.settings import setting_fields, shown

NO_COMPLETED_TRIAL = 3
"""An exit status; those of errors stand with their classes."""

Workspace = Annotated[Path, typer.Option(help="Folder with everything a benchmark produced.")]
TrackingUri = Annotated[str | None, typer.Option(metavar="URI", help="(default: the workspace's own)")]
Model = Annotated[str | None, typer.Option(metavar="URI|DIR", help="(default: the best model in the workspace)")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def families_beginning(incomplete: str) -> list[str]:
    """Return the names that a family's may be completed to, by its entry point alone: a key press loads no family."""
    from importlib.metadata import entry_points

    names = sorted(entry.name for entry in entry_points(group="harness.families"))
    return [name for name in (*names, "all") if name.startswith(incomplete)]


@contextmanager
def resumable() -> Iterator[None]:
    """Answer Ctrl-C, or another signal to end, within the block with what to do next."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(exit_status(interrupt)) from None


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting of a run; it gets them by name, None where one was not set.

    Args:
        command: takes them as keywords beside its own parameters.
    """
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    made = [_option(name, field) for name, field in setting_fields().items()]
    # Typer reads this signature; `--json` stands last in the help of every command.
    command.__signature__ = inspect.Signature([*own[:-1], *made, own[-1]])  # type: ignore[attr-defined]
    return command


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    metavar = shown(field).metavar
    kind = _kind(field.annotation, is_text=metavar is not None)
    names = [f"--{name.replace('_', '-')}"] if kind is bool else []
    option = typer.Option(*names, metavar=metavar, help=_help(field))
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind | None, option]
    )


def _help(field: FieldInfo) -> str:
    """Return what a setting is, and its default; a switch is off, and what None stands for is a part of the text."""
    text, quick = field.description or "", shown(field).quick
    if field.default is None or field.default is False:
        return text
    default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    return f"{text} (default: {default}{'' if quick is None else f'; {quick} if --quick'})"


def _kind(annotation: Any, is_text: bool) -> Any:
    """Return what the command line reads a setting as; text where the model parses it: sizes, durations, `auto`."""
    if get_origin(annotation) is tuple:
        return list[str]
    parts = {part for part in get_args(annotation) if part is not type(None)} or {annotation}
    kinds = (Path,) if is_text else (bool, int, Path)
    return next((kind for kind in kinds if parts == {kind}), str)
