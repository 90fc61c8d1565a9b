"""`harness sync`: an MLflow store, or a file for optuna-dashboard, brought to what the ledger holds."""

from __future__ import annotations

from pathlib import Path

from harness.events import Notify
from harness.tracking.ledger import Ledger
from harness.workflows.champion import register_all
from harness.workflows.dashboard import write_dashboard
from harness.workflows.publish import deliver
from harness.workspace import Workspace


def sync(workspace: Path, tracking_uri: str | None, notify: Notify) -> int:
    """Bring an MLflow store to what a workspace's ledger holds, champions with it; return how many results it got.

    The store may be new, may have been lost and begun again, or may have got other results than another store.

    Args:
        tracking_uri: of the store; None for the workspace's own.

    Raises:
        TrackingError: MLflow cannot be reached, or refused some of them.
        WorkspaceError: there are no results, or a run owns the workspace.
    """
    place = Workspace(workspace)
    place.check_results()
    with place.lock():
        ledger = Ledger(place)
        delivered = deliver(ledger, tracking_uri)
        register_all(tracking_uri or place.mlflow_url, ledger, notify)
    return delivered


def sync_dashboard(workspace: Path, file: Path, notify: Notify) -> int:
    """Write the studies of a workspace to a file for optuna-dashboard; return how many. A run may go on meanwhile.

    Raises:
        WorkspaceError: there are no results, the file cannot be written, or another one is there.
    """
    place = Workspace(workspace)
    place.check_results()
    return write_dashboard(Ledger(place), file, notify)
