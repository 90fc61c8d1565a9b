"""`harness run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import NO_COMPLETED_TRIAL, Json, families_beginning, resumable, with_settings


@with_settings
def run(
    families: Annotated[
        list[str],
        typer.Argument(metavar="FAMILY...|all", help="See: harness families.", autocompletion=families_beginning),
    ],
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; options override them.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Search the hyperparameters of one or more families, or go on with a search that was interrupted.

    Examples:

        harness run all --quick

        harness run cnn2d-fusion --data ~/music/genres --trials 30 --vram-budget 6GiB
    """
    from harness.console import LiveView, watching
    from harness.families import select
    from harness.settings import run_settings
    from harness.workflows.dry_run import dry_run
    from harness.workflows.run import run as run_benchmark

    settings = run_settings({"families": tuple(families), **options}, config)
    chosen, stores = select(settings.families), settings.stores
    view = LiveView(len(chosen), stores.workspace, settings.search.time_limit, tracking_uri=stores.tracking_uri)
    with resumable(), watching(as_json, view) as notify:
        if settings.dry_run:
            dry_run(settings, chosen, notify)
            return
        results = run_benchmark(settings, chosen, notify)
    if any(result.trials for result in results):
        typer.echo(f"report: {stores.place.report}\nbrowse: {stores.place.browsing(stores.tracking_uri)}", err=as_json)
    if all(result.best is None for result in results):
        raise typer.Exit(NO_COMPLETED_TRIAL)
