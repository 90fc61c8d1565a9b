"""The records that MLflow holds, read back."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from harness.passwords import shown_address
from harness.records.base import RunKind, format_complaint
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import TrialRecord
from harness.tracking.mlflow.connection import connect_existing, pages, search_runs, unreachable
from harness.tracking.serialization import (
    LazyPredictions,
    assemble_results,
    check_format,
    parse_predictions,
    parse_record,
)

logger = logging.getLogger(__name__)


def read_studies(tracking_uri: str) -> tuple[StudyResults, ...]:
    """Return all studies that MLflow holds, by family, then by name, with the trials that were delivered.

    The records equal those of the ledger they came from. Predictions are fetched when they are asked for.

    Raises:
        TrackingError: MLflow cannot be reached, or there is no such store.
        WorkspaceError: all studies were delivered in another format, or what was delivered cannot be read.
    """
    client = connect_existing(tracking_uri)
    try:
        experiments = [each.experiment_id for each in pages(lambda token: client.search_experiments(page_token=token))]
        parents: dict[str, Run] = {}
        for run in search_runs(client, experiments, {"kind": RunKind.STUDY}) if experiments else []:
            parents.setdefault(run.data.tags["study"], run)
        readable = [run for run in parents.values() if format_complaint(run.data.tags.get("format")) is None]
        if parents and not readable:
            run = next(iter(parents.values()))
            check_format(run.data.tags.get("format"), f"{run.data.tags['study']} in {shown_address(tracking_uri)}")
        if len(readable) < len(parents):
            where = shown_address(tracking_uri)
            logger.warning("%s: %d studies of another format are left out", where, len(parents) - len(readable))
        results = [_read_study(client, run) for run in readable]
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error
    delivered = [result for result in results if result is not None]
    return tuple(sorted(delivered, key=lambda result: (result.study.family, result.study.name)))


def _read_study(client: MlflowClient, parent: Run) -> StudyResults | None:
    """Return the study of run `parent`, or None where it was not delivered yet."""
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    if "study.json" not in names:
        return None
    study = parse_record(StudyRecord, _fetch(client, parent, "study.json"), _address(parent, "study.json"))
    trials: dict[int, tuple[TrialRecord, Run]] = {}
    for run in search_runs(client, [parent.info.experiment_id], {"kind": RunKind.TRIAL, "study": study.name}):
        if "outcome" in run.data.tags:
            trial = parse_record(TrialRecord, _fetch(client, run, "trial.json"), _address(run, "trial.json"))
            trials.setdefault(trial.number, (trial, run))

    def fetch_predictions(number: int) -> Predictions:
        run, name = trials[number][1], "predictions.npz"
        try:
            content = _fetch(client, run, name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise KeyError(number) from error  # taken over from another workspace, which has them
            raise
        return parse_predictions(content, _address(run, name))

    def fetch_file(name: str) -> bytes | None:
        return _fetch(client, parent, name) if name in names else None

    ordered = tuple(trials[number][0] for number in sorted(trials))
    completed = tuple(trial.number for trial in ordered if trial.completed)
    return assemble_results(study, ordered, LazyPredictions(completed, fetch_predictions), fetch_file)


def _address(run: Run, name: str) -> str:
    return f"{run.info.artifact_uri}/{name}"


def _fetch(client: MlflowClient, run: Run, name: str) -> bytes:
    """Return one artifact of `run`. Going by its address spares the look-ups that MLflow makes for a run's id."""
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=_address(run, name), dst_path=folder, tracking_uri=client.tracking_uri
        )
        return Path(path).read_bytes()
