"""`harness final`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import NO_COMPLETED_TRIAL, Json, Workspace, families_beginning, resumable


def final(
    families: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FAMILY...]", help="(default: all that were run)", autocompletion=families_beginning),
    ] = None,
    workspace: Workspace = Path("workspace"),
    final_seeds: Annotated[int, typer.Option(min=1, help="Trainings of each configuration.")] = 3,
    reopen_test: Annotated[
        bool, typer.Option("--reopen-test", help="Open a test set again, after more trials; the report counts it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open the test set: train winner and baseline again with fresh seeds, and score them on it.

    Do it once, after the search. Without a test set (random, kfold), outer folds take its place.

    Examples:

        harness final --workspace workspace

        harness final cnn2d-fusion --final-seeds 5
    """
    from harness import workspace as layout
    from harness.console import watching
    from harness.workflows.final_test import final_test

    with resumable(), watching(as_json) as notify:
        results = final_test(workspace, families or [], final_seeds, reopen_test, notify)
    typer.echo(f"report: {layout.Workspace(workspace).report}", err=as_json)
    if not any(result.finals and any(run.tracks for run in result.finals.runs) for result in results):
        raise typer.Exit(NO_COMPLETED_TRIAL)
