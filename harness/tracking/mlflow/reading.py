"""The records that MLflow holds, read back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.records import Kind, Predictions, StudyRecord, StudyResults, TrialRecord
from harness.tracking.ledger import LazyPredictions, assembled, load_predictions, load_record
from harness.tracking.mlflow.connection import connect, pages, search_runs, sqlite_file, unreachable


def read_studies(tracking_uri: str) -> tuple[StudyResults, ...]:
    """Return all studies that MLflow holds, by family, then by name, with the trials that were delivered.

    The records equal those of the ledger they came from. Predictions are fetched when they are asked for.

    Raises:
        TrackingError: MLflow cannot be reached, or there is no such store.
    """
    database = sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        raise TrackingError(f"{database}: there is no MLflow store. Check --workspace or --tracking-uri.")
    client = connect(tracking_uri)
    try:
        experiments = [each.experiment_id for each in pages(lambda token: client.search_experiments(page_token=token))]
        parents: dict[str, Run] = {}
        for run in search_runs(client, experiments, {"kind": Kind.STUDY}) if experiments else []:
            parents.setdefault(run.data.tags["study"], run)
        results = [_read_study(client, run) for run in parents.values()]
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error
    found = [result for result in results if result is not None]
    return tuple(sorted(found, key=lambda result: (result.study.family, result.study.study)))


def _read_study(client: MlflowClient, parent: Run) -> StudyResults | None:
    """Return the study of run `parent`, or None where it was not delivered yet."""
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    if "study.json" not in names:
        return None
    with _fetched(client, parent, "study.json") as path:
        study = load_record(StudyRecord, path)
    trials: dict[int, tuple[TrialRecord, Run]] = {}
    for run in search_runs(client, [parent.info.experiment_id], {"kind": Kind.TRIAL, "study": study.study}):
        if "outcome" in run.data.tags:
            with _fetched(client, run, "trial.json") as path:
                trial = load_record(TrialRecord, path)
            trials.setdefault(trial.number, (trial, run))

    def fetch_predictions(number: int) -> Predictions:
        with _fetched(client, trials[number][1], "predictions.npz") as path:
            return load_predictions(path)

    def fetch_file(name: str) -> bytes | None:
        if name not in names:
            return None
        with _fetched(client, parent, name) as path:
            return path.read_bytes()

    ordered = tuple(trials[number][0] for number in sorted(trials))
    completed = tuple(trial.number for trial in ordered if trial.completed)
    predictions = LazyPredictions(completed, fetch_predictions)
    return assembled(study, ordered, predictions, fetch_file)


@contextmanager
def _fetched(client: MlflowClient, run: Run, name: str) -> Iterator[Path]:
    """Hold one artifact of `run`. Going by its address spares the look-ups that MLflow makes for a run's id."""
    uri = f"{run.info.artifact_uri}/{name}"
    with tempfile.TemporaryDirectory() as folder:
        yield Path(
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=client.tracking_uri)
        )
