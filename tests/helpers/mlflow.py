"""A study to deliver, the MLflow store that gets it, and what a user of MLflow sees there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from harness.records.base import Value
from harness.records.final import FinalRecord, FinalRole, FinalsRecord, OpeningRecord
from harness.records.predictions import Predictions
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, Published, ReferenceRecord, StudyRecord
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource, TrialRecord
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.delivery import sync
from harness.tracking.serialization import FINALS, dump_predictions, dump_record
from harness.workflows.publish import artifacts, describe
from harness.workspace import Workspace
from tests.helpers.records import changed, grouped

STUDY = StudyRecord(
    family="cnn2d-fusion",
    name="cnn2d-fusion-ab12cd34",
    description="Two towers.",
    input="rows",
    space="v1",
    dataset=DatasetRecord(
        name="demo",
        fingerprint="f",
        genres=("blues", "rock"),
        tracks=4,
        synthetic=True,
        replicas=(("a", "b"),),
        quarantined={"c": "torn"},
    ),
    protocol=ProtocolRecord(name="kfold:5", fingerprint="p", sizes={"train": 2, "valid": 2}, grouped=True),
    budget_bytes=2**33,
    epochs=3,
    seed=1,
    quick=True,
    trial_time_limit_seconds=60.0,
    published=Published(accuracy=0.6, macro_f1=0.5, limitation="another split"),
    provenance=Provenance(
        commit="c0ffee",
        versions={"numpy": "2"},
        backend="tensorflow",
        device="cpu",
        driver=None,
        platform="Linux",
        cpu_count=2,
    ),
)
EPOCHS = tuple(
    EpochRecord(
        epoch=step, loss=1 / (step + 3), accuracy=0.5, val_loss=0.7, val_accuracy=0.5, val_macro_f1=0.3, seconds=2.5
    )
    for step in range(3)
)
PREDICTIONS = Predictions(
    tracks=("blues.00000", "rock.00001"),
    genres=("blues", "rock"),
    labels=np.array([0, 1]),
    probabilities=np.array([[0.75, 0.25], [0.125, 0.875]], dtype=np.float32),
)
PARAMS: dict[str, Value] = {"rate": 1e-5, "layers": 3, "residual": True, "pooling": "max", "warmup": None}


def trial(number: int, outcome: Outcome = Outcome.COMPLETED, epochs: tuple[EpochRecord, ...] = EPOCHS) -> TrialRecord:
    completed = outcome is Outcome.COMPLETED
    return TrialRecord(
        **grouped(
            family=STUDY.family,
            study=STUDY.name,
            number=number,
            outcome=outcome,
            params=PARAMS,
            micro_batch=8,
            accumulation=2,
            epochs=epochs,
            best_epoch=2 if completed else None,
            valid_accuracy=0.75 if completed else None,
            valid_macro_f1=0.714 if completed else None,
            reading=Reading(peak_bytes=3 * 2**30, source=ReadingSource.PROCESS),
            footprint_bytes=2**31,
            constraints={"vram": -1.0},
            started="2025-01-01T10:00:00+00:00",
            ended="2025-01-01T10:01:00+00:00",
        )
    )


OPENINGS = (
    OpeningRecord(trials=2, state="a", opened="2025-01-02T10:00:00+00:00"),
    OpeningRecord(trials=4, state="b", opened="2025-01-03T10:00:00+00:00"),
)
TESTED = Predictions(
    tracks=("blues.1", "blues.2", "rock.1", "rock.2"),
    genres=("blues", "rock"),
    labels=np.array([0, 0, 1, 1]),
    probabilities=np.array([[0.75, 0.25], [0.5, 0.25], [0.25, 0.75], [0.75, 0.25]], dtype=np.float32),
)
REFERENCE = ReferenceRecord(name="largest genre", partition="valid", tracks=4, accuracy=0.5, macro_f1=1 / 3)


def final(role: FinalRole, seed: int, fold: int | None = None, outcome: Outcome = Outcome.COMPLETED) -> FinalRecord:
    completed = outcome is Outcome.COMPLETED
    return FinalRecord(
        **grouped(
            role=role,
            trial=7 if role is FinalRole.WINNER else 0,
            seed=seed,
            fold=fold,
            outcome=outcome,
            message="" if completed else "the process ended",
            tracks=4 if completed else 0,
            test_accuracy=0.75 if completed else None,
            test_macro_f1=11 / 15 if completed else None,
            reading=Reading(peak_bytes=3 * 2**30, source=ReadingSource.PROCESS) if completed else Reading(),
            allocator_peak_bytes=2**30 if completed else None,
            train_seconds=90.5 if completed else None,
        )
    )


WINNER, BASELINE = final(FinalRole.WINNER, 2), final(FinalRole.BASELINE, 2)


def keep_finals(
    ledger: Ledger, *runs: FinalRecord, openings: tuple[OpeningRecord, ...] = OPENINGS[:1], study: StudyRecord = STUDY
) -> None:
    """Keep finals as the search does: the predictions of a run, then the record that names it."""
    tested = {f"{run.key}.npz": dump_predictions(TESTED) for run in runs if run.outcome is Outcome.COMPLETED}
    finals = FinalsRecord(tested="test", openings=openings, runs=runs)
    ledger.write_study_files(study.name, {**tested, FINALS: dump_record(finals)})


def pictures(title: str, predictions: Predictions) -> Mapping[str, bytes]:
    return {"confusion_matrix.png": title.encode(), "per_genre.csv": b"table"}


@functools.cache
def empty_store() -> bytes:
    """An SQLite store with its tables made, which takes seconds."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "mlflow.db")
        sync(Ledger(Workspace(path.parent)), f"sqlite:///{path}")
        return path.read_bytes()


def new_store(folder: Path) -> str:
    """The address of a fresh SQLite store in a folder."""
    path = folder / "mlflow.db"
    path.write_bytes(empty_store())
    return f"sqlite:///{path}"


OTHER = STUDY.model_copy(update={"family": "cnn1d-raw", "name": "cnn1d-raw-0fc4da67", "description": "Waveforms"})


def deliver(folder: Path) -> Path:
    """Make a workspace, and all of it known to its MLflow store; return it.

    Two families: one with two completed trials and one out of memory, one with a trial of its own and a final test.
    """
    workspace = Workspace(folder)
    ledger = Ledger(workspace)
    for study in (STUDY, OTHER):
        ledger.open_study(study)
    better = {"valid_macro_f1": 0.825, "params": {**PARAMS, "layers": 5}, "series": ((0.5, 2**30),)}
    ledger.write_trial(trial(0), PREDICTIONS)
    ledger.write_trial(changed(trial(1), **better), PREDICTIONS)
    ledger.write_trial(trial(2, Outcome.OOM, epochs=()), None)
    own = {"family": OTHER.family, "study": OTHER.name, "valid_macro_f1": 0.5}
    ledger.write_trial(changed(trial(0), **own), PREDICTIONS)
    keep_finals(ledger, WINNER, BASELINE, study=OTHER)
    new_store(folder)
    sync(ledger, workspace.mlflow_url, artifact_root=workspace.artifacts, artifacts=artifacts, describe=describe)
    return folder


def new_ledger(folder: Path) -> Ledger:
    """A ledger in which the study is open."""
    ledger = Ledger(Workspace(folder))
    ledger.open_study(STUDY)
    return ledger


def assert_equal(ours: Predictions, theirs: Predictions) -> None:
    assert (ours.tracks, ours.genres) == (theirs.tracks, theirs.genres)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)


def runs_of(uri: str, kind: str) -> list[Run]:
    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.kind = '{kind}'", run_view_type=ViewType.ACTIVE_ONLY)
    return sorted(runs, key=lambda run: int(run.data.tags.get("trial", 0)))


def curve(uri: str, run: Run, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in MlflowClient(uri).get_metric_history(run.info.run_id, key))


def files_of(uri: str, run: Run) -> set[str]:
    return {file.path for file in MlflowClient(uri).list_artifacts(run.info.run_id)}
