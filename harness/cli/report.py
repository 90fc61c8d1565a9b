"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Workspace


def report(
    workspace: Workspace = Path("workspace"),
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="Read from MLflow instead.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="(default: WORKSPACE/report/RESULTS.md)")
    ] = None,
    inject: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Renew the table between the markers of a document.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write one page that needs nothing else; from a server, with links."),
    ] = None,
) -> None:
    """Write the comparison from stored results; twice in a row gives the same bytes.

    Examples:

        harness report --workspace workspace

        harness report --inject README.md

        harness report --html report.html

        harness report --tracking-uri http://localhost:5000 --output RESULTS.md
    """
    from harness.workflows.report import ReportOutputs, write_reports

    for path in write_reports(workspace, tracking_uri, ReportOutputs(output, inject, html)):
        typer.echo(path)
