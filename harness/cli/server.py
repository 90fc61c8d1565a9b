"""`harness ui` and `harness sync`: MLflow, served and brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import TrackingUri, Workspace
from harness.errors import UsageError


def ui(
    workspace: Workspace = Path("workspace"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="(default: the first free one from 5000)")] = None,
) -> None:
    """Serve the MLflow UI of a workspace until Ctrl-C.

    Examples:

        harness ui

        harness ui --workspace workspace --port 8080
    """
    from harness.tracking.server import serve

    raise typer.Exit(serve(workspace, host, port, typer.echo))


def sync(
    workspace: Workspace = Path("workspace"),
    tracking_uri: TrackingUri = None,
    optuna: Annotated[
        Path | None, typer.Option(metavar="FILE.db", help="Write the studies for optuna-dashboard, and nothing else.")
    ] = None,
) -> None:
    """Bring MLflow to what the workspace holds: a server that was away, another one, or a store that was lost.

    Examples:

        harness sync

        harness sync --tracking-uri http://localhost:5000

        harness sync --optuna studies.db
    """
    from harness.console import watching
    from harness.workflows.sync import sync as bring_up_to_date
    from harness.workflows.sync import sync_dashboard

    if optuna is not None and tracking_uri is not None:
        raise UsageError(
            "--optuna writes a file and nothing else, so --tracking-uri does nothing. Give one of the two."
        )
    with watching(False) as notify:
        if optuna is not None:
            written = sync_dashboard(workspace, optuna, notify)
            typer.echo(f"{optuna}: {written} {'study' if written == 1 else 'studies'}")
            return
        delivered = bring_up_to_date(workspace, tracking_uri, notify)
    typer.echo(f"delivered {delivered} results")
