"""The file for optuna-dashboard: all studies of a workspace, at a study's end and with `harness sync --optuna`."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError, WorkspaceError
from harness.events import Note, Notify
from harness.inference.resolve import available
from harness.search.dashboard_file import trials_on_record, write_dashboard_file
from harness.settings import cache
from harness.tracking.ledger import Ledger


def renew_dashboard(ledger: Ledger, notify: Notify) -> None:
    """Write the workspace's own file; what cannot be written is told of, for a run reads none of it."""
    try:
        write_dashboard(ledger, ledger.workspace.dashboard_file, notify)
    except WorkspaceError as error:
        notify(Note(f"optuna-dashboard is not served: {error}", warning=True))


def write_dashboard(ledger: Ledger, path: Path, notify: Notify) -> int:
    """Write all studies of a workspace to a file for optuna-dashboard, in the place of an earlier one; return how many.

    A study whose family is not installed, or whose frozen network is gone, is told of and left out.

    Raises:
        WorkspaceError: the file cannot be written, or another one is there.
    """
    studies = {}
    for study in ledger.studies():
        ended = {trial.number: trial for trial in ledger.trials(study.name)}
        running, _ = ledger.running.read(study.name, ended)
        try:
            family, _ = available(ledger, study, cache())
        except UsageError as error:
            notify(Note(f"{study.name}: left out of {path}: {error}", warning=True))
        else:
            studies[study.name] = trials_on_record(family, study, ended.values(), running.values())
    write_dashboard_file(path, studies.items())
    return len(studies)
