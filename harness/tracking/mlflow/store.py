"""The runs of studies, trials and finals in an MLflow store: made, found by tags, brought to what a record says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from harness.errors import TrackingError
from harness.records import (
    FinalRecord,
    FinalsRecord,
    Kind,
    Outcome,
    Predictions,
    StudyRecord,
    StudyResults,
    TrialRecord,
    Value,
)
from harness.tracking.ledger import dump_record
from harness.tracking.mlflow.connection import connect, search_runs, unreachable
from harness.tracking.mlflow.points import Point, final_metrics, is_ours, milliseconds, now, trial_points
from harness.tracking.mlflow.views import experiment_tags

_STATUS = {Outcome.COMPLETED: "FINISHED", Outcome.PRUNED: "FINISHED", Outcome.INTERRUPTED: "KILLED"}
_METRICS_PER_BATCH = 800


class Store:
    """The runs of studies, trials and finals in one MLflow store."""

    def __init__(self, tracking_uri: str, artifact_root: Path | None) -> None:
        self.client = connect(tracking_uri)
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._experiments: dict[str, str] = {}
        self._parents: dict[str, str] = {}

    def ping(self) -> None:
        """Raises: TrackingError: the store does not answer."""
        try:
            self.client.search_experiments(max_results=1)
        except MlflowException as error:
            raise unreachable(self._uri, error) from error

    def parent(self, study: StudyRecord) -> str:
        """Return the id of the study's run, made if there is none."""
        if study.study not in self._parents:
            runs = search_runs(self.client, [self._experiment(study)], {"kind": Kind.STUDY, "study": study.study})
            self._parents[study.study] = runs[0].info.run_id if runs else self._create_parent(study)
        return self._parents[study.study]

    def restart_trial(self, study: StudyRecord, number: int, params: Mapping[str, Value], started: int) -> str:
        """Return the id of a fresh run of a trial; one that an interrupted attempt left is deleted."""
        run = find_trial(self.client, study, number)
        if run is not None:
            self.client.delete_run(run.info.run_id)
        run_id = self._create_trial(study, number, started)
        self.log(run_id, {}, {**params, "budget_bytes": study.budget_bytes})
        return run_id

    def deliver_study(self, study: StudyRecord, files: Mapping[str, bytes], status: str) -> None:
        """Bring the run of `study` to what the record says, with `files` by name, and set its status."""
        run_id = self.parent(study)
        self._upload(run_id, {**files, "study.json": dump_record(study)})
        self._log_dataset(run_id, study)
        self.set_status(run_id, status)

    def describe(self, results: StudyResults, description: str) -> None:
        """Bring the name, the description and the scores of the study's run to the best trial so far.

        A better score is a point at the number of trials that have ended, so its curve shows how the search went on.
        """
        study, best = results.study, results.best
        run = self.client.get_run(self.parent(study))
        scores = {"valid_accuracy": best.valid_accuracy, "valid_macro_f1": best.valid_macro_f1} if best else {}
        better = {
            (key, len(results.trials), score): now()
            for key, score in scores.items()
            if score is not None and run.data.metrics.get(key) != score
        }
        self.log(run.info.run_id, better, tags={MLFLOW_RUN_NOTE: description})
        name = _named(study_name(study), best.valid_macro_f1 if best else None)
        if name != run.info.run_name:
            self.client.update_run(run.info.run_id, name=name)

    def deliver_trial(self, study: StudyRecord, trial: TrialRecord, files: Mapping[str, bytes]) -> None:
        """Bring the run of `trial` to what the record says, from whatever state an earlier attempt left it in."""
        points = trial_points(trial)
        params: dict[str, Value] = {**trial.params, "budget_bytes": study.budget_bytes}
        if trial.micro_batch is not None:
            params["micro_batch"] = trial.micro_batch
        run = find_trial(self.client, study, trial.number)
        logged: set[Point] = set()
        if run is not None:
            logged = self._points(run)
            same_params = all(run.data.params.get(key, str(value)) == str(value) for key, value in params.items())
            if not same_params or not logged <= points.keys():
                self.client.delete_run(run.info.run_id)
                run, logged = None, set()
        started, ended = milliseconds(trial.started), milliseconds(trial.ended)
        run_id = run.info.run_id if run is not None else self._create_trial(study, trial.number, started or now())
        if run is not None and not run.inputs.dataset_inputs:
            self._log_dataset(run_id, study)
        self._upload(run_id, {**files, "trial.json": dump_record(trial)})
        missing = {point: moment for point, moment in points.items() if point not in logged}
        self.log(run_id, missing, params, {"outcome": trial.outcome, "vram.source": trial.reading.source})
        score = trial.valid_macro_f1 if trial.completed else None
        self.client.update_run(run_id, name=_named(trial_name(study, trial.number), score, trial.outcome))
        self.set_status(run_id, _STATUS.get(trial.outcome, "FAILED"), ended)

    def deliver_finals(
        self,
        study: StudyRecord,
        finals: FinalsRecord,
        predictions: Mapping[str, Predictions],
        artifacts: Callable[[FinalRecord], Mapping[str, bytes]],
    ) -> None:
        """Bring the runs of the last opening to what the records say; one that says it already is left as it is.

        All other runs of finals are deleted: of an earlier opening, of which the ledger keeps only the count; cut off;
        or made twice. MLflow can restore them.
        """
        found = search_runs(self.client, [self._experiment(study)], {"kind": Kind.FINAL, "study": study.study})
        # No record says when a final ran: its run stands at the opening, and lasts as long as the training took.
        opened = milliseconds(finals.openings[-1].opened) or now()
        kept = {
            self._deliver_final(study, final, opened, predictions.get(final.key), artifacts, found)
            for final in finals.runs
        }
        for run in found:
            if run.info.run_id not in kept:
                self.client.delete_run(run.info.run_id)

    def set_status(self, run_id: str, status: str, ended: int | None = None) -> None:
        """Set the status of a run; unless that is `RUNNING`, it ended at `ended` in ms since 1970, or just now."""
        if status == "RUNNING":
            self.client.update_run(run_id, status=status)
        else:
            self.client.set_terminated(run_id, status, ended)

    def log(
        self,
        run_id: str,
        points: Mapping[Point, int],
        params: Mapping[str, Value] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log all in one request, or in as few as MLflow's limits allow; parameters that are there already stay.

        Each of `points` comes with its time in ms since 1970.
        """
        metrics = [Metric(key, value, moment, step) for (key, step, value), moment in points.items()]
        head = [Param(key, str(value)) for key, value in (params or {}).items()]
        labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        if head or labels or metrics:
            self.client.log_batch(run_id, metrics[:_METRICS_PER_BATCH], head, labels)
        for start in range(_METRICS_PER_BATCH, len(metrics), _METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics[start : start + _METRICS_PER_BATCH])

    def _experiment(self, study: StudyRecord) -> str:
        name = _experiment_name(study)
        if name not in self._experiments:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"{self._uri}: the experiment {name} was deleted. Restore it with: "
                    f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
                )
            if experiment is None:
                location = self._artifact_root.resolve().as_uri() if self._artifact_root is not None else None
                self._experiments[name] = self.client.create_experiment(name, location, experiment_tags())
            else:
                self._experiments[name] = experiment.experiment_id
                for key, value in experiment_tags().items():
                    if key not in experiment.tags:
                        self.client.set_experiment_tag(experiment.experiment_id, key, value)
        return self._experiments[name]

    def _create_parent(self, study: StudyRecord) -> str:
        tags = {**_tags(study), "kind": Kind.STUDY, MLFLOW_RUN_NOTE: study.description}
        run = self.client.create_run(self._experiment(study), tags=tags, run_name=study_name(study))
        run_id: str = run.info.run_id
        self.log(run_id, {}, {"budget_bytes": study.budget_bytes})
        return run_id

    def _create_trial(self, study: StudyRecord, number: int, started: int) -> str:
        return self._nest(study, trial_name(study, number), {"kind": Kind.TRIAL, "trial": str(number)}, started)

    def _nest(self, study: StudyRecord, name: str, tags: Mapping[str, str], started: int) -> str:
        """Return the id of a new run nested in the study's."""
        all_tags = {**_tags(study), **tags, MLFLOW_PARENT_RUN_ID: self.parent(study)}
        run_id: str = self.client.create_run(self._experiment(study), started, all_tags, run_name=name).info.run_id
        self._log_dataset(run_id, study)
        return run_id

    def _log_dataset(self, run_id: str, study: StudyRecord) -> None:
        """Log what the study ran on as the input of a run; a second time changes nothing."""
        self.client.log_inputs(run_id, [_dataset_input(study)])

    def _deliver_final(
        self,
        study: StudyRecord,
        final: FinalRecord,
        started: int,
        predictions: Predictions | None,
        artifacts: Callable[[FinalRecord], Mapping[str, bytes]],
        found: Sequence[Run],
    ) -> str:
        """Return the id of the run that says what `final` does: one of those `found`, or a new one."""
        metrics = final_metrics(final, predictions)
        params: dict[str, Value] = {"trial": final.trial, "seed": final.seed, "budget_bytes": study.budget_bytes}
        if final.fold is not None:
            params["fold"] = final.fold
        tags = {"kind": Kind.FINAL, "final": final.key, "trial": str(final.trial)}
        tags |= {"outcome": final.outcome, "vram.source": final.reading.source}
        status = _STATUS.get(final.outcome, "FAILED")
        texts = {key: str(value) for key, value in params.items()}
        for run in found:
            known: str = run.info.run_id
            says = ((run.data.tags, tags), (run.data.params, texts), (run.data.metrics, metrics))
            if run.info.status == status and all(said.items() >= due.items() for said, due in says):
                return known
        name = _named(final_name(study, final), final.test_macro_f1, final.outcome)
        run_id = self._nest(study, name, tags, started)
        self._upload(run_id, {**artifacts(final), "final.json": dump_record(final)})
        ended = started + round(1000 * (final.train_seconds or 0.0))
        self.log(run_id, {(key, 0, value): ended for key, value in metrics.items()}, params)
        self.set_status(run_id, status, ended)  # last: a run that was cut off is still running, and made anew
        return run_id

    def _points(self, run: Run) -> set[Point]:
        return {
            (point.key, point.step, point.value)
            for key in filter(is_ours, run.data.metrics)
            for point in self.client.get_metric_history(run.info.run_id, key)
        }

    def _upload(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self.client.log_artifacts(run_id, folder)


def find_trial(client: MlflowClient, study: StudyRecord, number: int) -> Run | None:
    """Return the run of trial `number` of `study`. A second one, which a repeated request can leave, is deleted."""
    experiment = client.get_experiment_by_name(_experiment_name(study))
    if experiment is None:
        return None
    tags = {"kind": Kind.TRIAL, "study": study.study, "trial": str(number)}
    runs = search_runs(client, [experiment.experiment_id], tags)
    for extra in runs[1:]:
        client.delete_run(extra.info.run_id)
    return runs[0] if runs else None


def _experiment_name(study: StudyRecord) -> str:
    return f"{study.dataset.name}/{study.protocol.name}"


def study_name(study: StudyRecord) -> str:
    """Return what a reader calls a study."""
    return f"{study.family} · study {study.study.removeprefix(f'{study.family}-')}"


def trial_name(study: StudyRecord, number: int) -> str:
    """Return what a reader calls a trial."""
    return f"{study.family} · trial {number}"


def final_name(study: StudyRecord, final: FinalRecord) -> str:
    """Return what a reader calls a final run."""
    fold = "" if final.fold is None else f", outer fold {final.fold + 1}"
    return f"{study.family} · {final.role}, seed {final.seed + 1}{fold}"


def _named(name: str, macro_f1: float | None, otherwise: str = "") -> str:
    """Return the name of a run with its score, or with what it has instead of one."""
    result = otherwise if macro_f1 is None else f"{macro_f1:.2f}"
    return f"{name} · {result}" if result else name


def _dataset_input(study: StudyRecord) -> DatasetInput:
    """Return the data set of `study` as MLflow lists it. The audio stays where it is, and so does its path."""
    data, split = study.dataset, study.protocol
    profile = {
        "tracks": data.tracks,
        "genres": list(data.genres),
        "synthetic": data.synthetic,
        "sets of exact replicas": len(data.replicas),
        "unusable files": len(data.quarantined),
        "protocol": split.name,
        "tracks by partition": split.sizes,
    }
    source = "synthetic demo set" if data.synthetic else "folder of audio files"
    dataset = Dataset(data.name, data.fingerprint, "local", json.dumps({"uri": source}), profile=json.dumps(profile))
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])


def _tags(study: StudyRecord) -> dict[str, str]:
    return {
        "family": study.family,
        "study": study.study,
        "space": study.space,
        "dataset": study.dataset.name,
        "protocol": study.protocol.name,
        "commit": study.provenance.commit,
    }
