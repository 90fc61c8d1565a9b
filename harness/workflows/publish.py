"""Results where others see them: the report on disk, and MLflow while a search runs and after it."""

from __future__ import annotations

from pathlib import Path

from harness.errors import TrackingError
from harness.events import Note, Notify
from harness.passwords import without_passwords
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.scoring.metrics import confusion
from harness.settings import StoreSettings
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from reports.document import results_table
from reports.exports import confusion_json, per_genre_csv
from reports.figures import confusion_matrix_png
from reports.write import write_markdown


def open_tracker(stores: StoreSettings, ledger: Ledger, notify: Notify) -> Tracker:
    """Return what shows a search in MLflow while it runs; it is the caller's to close."""
    # Importing MLflow takes seconds; the children's server uses them to import the framework.
    from harness.tracking.mlflow.tracker import MLflowTracker

    own_store = stores.tracking_uri is None
    return MLflowTracker(
        stores.mlflow_uri,
        ledger,
        artifact_root=ledger.workspace.artifacts if own_store else None,
        artifacts=artifacts,
        describe=describe,
        warn=lambda text: notify(Note(text, warning=True)),
    )


def artifacts(title: str, predictions: Predictions) -> dict[str, bytes]:
    """Make the files, by name, that show predictions under a title."""
    return {
        "confusion_matrix.png": confusion_matrix_png(confusion(predictions), predictions.genres, title),
        "confusion_matrix.json": confusion_json(predictions).encode(),
        "per_genre.csv": per_genre_csv(predictions).encode(),
    }


def describe(results: StudyResults) -> str:
    """Describe a study for the page of its MLflow run: what it is, and its row of the report."""
    return f"{results.study.description}.\n\n{results_table([results])}"


def write_report(ledger: Ledger) -> list[Path]:
    """Write the report of everything in the workspace and return the files; none where no trial has ended."""
    studies = [ledger.results(study.name) for study in ledger.studies()]
    ended = [study for study in studies if study.trials]
    return write_markdown(ended, ledger.workspace.report) if ended else []


def deliver(ledger: Ledger, tracking_uri: str | None) -> int:
    """Bring an MLflow store, by default the workspace's own, to what the ledger holds; return how many results it got.

    For whoever owns the workspace.

    Raises:
        TrackingError: MLflow cannot be reached, or refused some of the results.
    """
    from harness.tracking.mlflow import delivery

    place = ledger.workspace
    root = place.artifacts if tracking_uri in (None, place.mlflow_url) else None
    done = delivery.sync(
        ledger, tracking_uri or place.mlflow_url, artifact_root=root, artifacts=artifacts, describe=describe
    )
    if done.refused:
        text = f"{done.delivered} results were delivered, others not: {'; '.join(done.refused)}"
        raise TrackingError(without_passwords(text, tracking_uri))
    return done.delivered
