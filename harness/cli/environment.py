"""`harness families` and `harness doctor`: what is installed, and what the machine can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from harness.cli.options import Json


def families(
    samples: Annotated[int, typer.Option(min=1, help="Configurations of a family whose memory is estimated.")] = 200,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page of documentation, without the memory.")] = False,
    as_json: Json = False,
) -> None:
    """Show every family with its input, its baseline, its space, and the GPU memory that the space asks for.

    The memory is estimated from sampled configurations. The first time takes a few minutes; Ctrl-C does no harm.

    Examples:

        harness families --samples 50

        harness families --markdown
    """
    from harness.console import counting
    from harness.workflows.list_families import describe_families, families_page

    if markdown:
        typer.echo(families_page(), nl=False)
        return
    with counting("estimating footprints") as progress:
        for text in describe_families(as_json, samples, progress):
            typer.echo(text)


def doctor(
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu:N")] = "auto",
    as_json: Json = False,
) -> None:
    """Say whether trials compute on a GPU, within what memory, how that is measured, and what to do about the rest.

    Examples:

        harness doctor

        harness doctor --device gpu:1 --json
    """
    from harness.workflows.doctor import diagnose

    for finding in diagnose(device):
        typer.echo(json.dumps(asdict(finding)) if as_json else finding)
