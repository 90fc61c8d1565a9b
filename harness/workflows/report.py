"""`harness report`: the comparison, written from stored results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.passwords import shown_address
from harness.records.base import RunLinks
from harness.records.study import StudyResults
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import many_records
from harness.workspace import Workspace
from reports import write


@dataclass(frozen=True)
class ReportOutputs:
    """Where a report goes; all None for the workspace's own place.

    Attributes:
        markdown: a file, with pictures and tables beside it.
        inject: a document in which the table between the markers is renewed.
        html: one page that needs nothing else.
    """

    markdown: Path | None = None
    inject: Path | None = None
    html: Path | None = None


def write_reports(workspace: Path, tracking_uri: str | None, outputs: ReportOutputs) -> Iterator[Path]:
    """Write what was asked for and yield the files; twice in a row gives the same bytes.

    Args:
        tracking_uri: an MLflow server to read from instead of the workspace.

    Raises:
        UsageError: there is nothing to report on, or an output is a folder.
        WorkspaceError: an output cannot be written.
        TrackingError: MLflow cannot be reached.
    """
    with many_records():
        studies = stored_studies(workspace, tracking_uri)
        if outputs.inject is not None:
            yield write.inject_into(outputs.inject, studies)
        if outputs.html is not None:
            yield write.write_page(studies, outputs.html, run_links(tracking_uri))
        if (outputs.inject is None and outputs.html is None) or outputs.markdown is not None:
            yield from write.write_markdown(studies, outputs.markdown or Workspace(workspace).report)


def stored_studies(workspace: Path, tracking_uri: str | None) -> Sequence[StudyResults]:
    """Return all studies with at least one ended trial, from a workspace or from an MLflow server.

    Raises:
        UsageError: there are none.
        TrackingError: MLflow cannot be reached.
    """
    studies: Sequence[StudyResults]
    place = Workspace(workspace)
    if tracking_uri is not None:
        from harness.tracking.mlflow.reading import read_studies

        studies, where = read_studies(tracking_uri), shown_address(tracking_uri)
    else:
        ledger = Ledger(place)
        studies, where = [ledger.results(study.name) for study in ledger.studies()], str(workspace)
    found = [study for study in studies if study.trials]
    if not found:
        raise UsageError(f"{where}: holds no finished trial. Make some with: {place.command('run all', '--quick')}")
    return found


def run_links(tracking_uri: str | None) -> RunLinks:
    """Return where each tracked run is found on the web; nothing where records are read from a workspace.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    if tracking_uri is None:
        return {}
    from harness.tracking.mlflow import links

    return links.run_links(tracking_uri)
