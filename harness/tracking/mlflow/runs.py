"""The runs of studies, trials and finals in an MLflow store: made, found by tags, synchronised with the record."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.records.base import RunKind, Value
from harness.records.final import FinalRecord, FinalsRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import TrialRecord
from harness.tracking.mlflow import schema
from harness.tracking.mlflow.connection import connect, search_runs, unreachable
from harness.tracking.mlflow.points import Point, final_metrics, is_ours, milliseconds, now, trial_points
from harness.tracking.mlflow.views import experiment_tags
from harness.tracking.serialization import dump_record

METRICS_PER_BATCH = 800
"""Points of curves in one request; MLflow takes 1,000 values in one, tags and parameters among them."""


class RunStore:
    """The runs of studies, trials and finals in one MLflow store."""

    def __init__(self, client: MlflowClient, tracking_uri: str, artifact_root: Path | None) -> None:
        self.client = client
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._experiments: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        # Of trials that were begun here: their runs, and the points that these have, as long as no request has failed.
        self._begun: dict[tuple[str, int], str] = {}
        self._logged: dict[str, set[Point]] = {}

    @classmethod
    def open(cls, tracking_uri: str, artifact_root: Path | None) -> RunStore:
        """Connect to a store, in which new experiments keep their artifacts under `artifact_root`; None leaves it to
        the server.

        Raises:
            TrackingError: it does not answer.
        """
        return cls(connect(tracking_uri), tracking_uri, artifact_root)

    def delivered(self, study: StudyRecord) -> dict[int | None, str]:
        """Return the digests of what this store has got of a study, by trial; None stands for the study itself."""
        experiment = self.client.get_experiment_by_name(schema.experiment_name(study))
        if experiment is None:
            return {}
        runs = search_runs(self.client, [experiment.experiment_id], {"study": study.name})
        return {
            int(tags["trial"]) if tags["kind"] == RunKind.TRIAL else None: tags[schema.DELIVERED]
            for tags in (run.data.tags for run in runs)
            if schema.DELIVERED in tags
        }

    def mark_delivered(self, run_id: str, digest: str) -> None:
        """Note with the run of a study or a trial that all of it is there."""
        self.client.set_tag(run_id, schema.DELIVERED, digest)

    def ping(self) -> None:
        """Raises: TrackingError: the store does not answer."""
        try:
            self.client.search_experiments(max_results=1)
        except MlflowException as error:
            raise unreachable(self._uri, error) from error

    def parent(self, study: StudyRecord) -> str:
        """Return the id of the study's run, made if there is none."""
        if study.name not in self._parents:
            runs = search_runs(self.client, [self._experiment(study)], {"kind": RunKind.STUDY, "study": study.name})
            self._parents[study.name] = runs[0].info.run_id if runs else self._create_parent(study)
        return self._parents[study.name]

    def restart_trial(self, study: StudyRecord, number: int, params: Mapping[str, Value], started: int) -> str:
        """Return the id of a fresh run of a trial; one that an interrupted attempt left is deleted."""
        run = find_trial(self.client, study, number)
        if run is not None:
            self.client.delete_run(run.info.run_id)
        run_id = self._create_trial(study, number, started)
        self._begun[study.name, number], self._logged[run_id] = run_id, set()
        self.log(run_id, {}, {**params, "budget_bytes": study.budget_bytes})
        return run_id

    def deliver_study(self, study: StudyRecord, files: Mapping[str, bytes], status: str) -> str:
        """Synchronise the run of `study` with its record and its `files`, by name, set its status, return its id."""
        run_id = self.parent(study)
        self._upload(run_id, {**files, "study.json": dump_record(study)})
        self._log_dataset(run_id, study)
        self.set_status(run_id, status)
        return run_id

    def describe(self, results: StudyResults, description: str) -> None:
        """Synchronise the name, the description and the scores of the study's run with the best trial so far.

        A better score is a point at the number of trials that have ended, so its curve shows how the search went on.
        """
        study, best = results.study, results.best
        run = self.client.get_run(self.parent(study))
        scores = (
            {"valid_accuracy": best.scores.valid_accuracy, "valid_macro_f1": best.scores.valid_macro_f1} if best else {}
        )
        better = {
            (key, len(results.trials), score): now()
            for key, score in scores.items()
            if score is not None and run.data.metrics.get(key) != score
        }
        self.log(run.info.run_id, better, tags={schema.NOTE: description})
        name = schema.with_score(schema.study_name(study), best.scores.valid_macro_f1 if best else None)
        if name != run.info.run_name:
            self.client.update_run(run.info.run_id, name=name)

    def deliver_trial(self, study: StudyRecord, trial: TrialRecord, files: Mapping[str, bytes], digest: str) -> None:
        """Synchronise the run of `trial` with its record, from whatever state an earlier attempt left it in; note with
        it, last of all, the digest of what was delivered.
        """
        points, params = trial_points(trial), schema.trial_params(study, trial)
        run_id, logged = self._run_of(study, trial, points, params)
        self._upload(run_id, {**files, "trial.json": dump_record(trial)})
        score = trial.scores.valid_macro_f1 if trial.completed else None
        name = schema.with_score(schema.trial_name(study, trial.number), score, trial.outcome)
        self.client.update_run(run_id, name=name)
        self.set_status(run_id, schema.status(trial.outcome), milliseconds(trial.timing.ended))
        missing = {point: moment for point, moment in points.items() if point not in logged}
        tags = {"outcome": trial.outcome, "vram.source": trial.memory.reading.source, schema.DELIVERED: digest}
        self.log(run_id, missing, params, tags)

    def deliver_finals(
        self,
        study: StudyRecord,
        finals: FinalsRecord,
        predictions: Mapping[str, Predictions],
        artifacts: Callable[[FinalRecord], Mapping[str, bytes]],
    ) -> None:
        """Synchronise the runs of the last opening with their records; one that agrees already is left as it is.

        All other runs of finals are deleted: of an earlier opening, of which the ledger keeps only the count; cut off;
        or made twice. MLflow can restore them.
        """
        found = search_runs(self.client, [self._experiment(study)], {"kind": RunKind.FINAL, "study": study.name})
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
        """Log all in one request, or in as few as MLflow's limits allow, tags with the last; parameters that are there
        already stay.

        Each of `points` comes with its time in ms since 1970.
        """
        logged = self._logged.pop(run_id, None)
        metrics = [Metric(key, value, moment, step) for (key, step, value), moment in points.items()]
        head = [Param(key, str(value)) for key, value in (params or {}).items()]
        labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        for start in range(METRICS_PER_BATCH, len(metrics), METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics[start : start + METRICS_PER_BATCH])
        if head or labels or metrics:
            self.client.log_batch(run_id, metrics[:METRICS_PER_BATCH], head, labels)
        if logged is not None:
            self._logged[run_id] = logged.union(points)

    def _experiment(self, study: StudyRecord) -> str:
        name = schema.experiment_name(study)
        if name not in self._experiments:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"{self._uri}: the experiment {name} was deleted. Restore it with: "
                    f"MLFLOW_TRACKING_URI={shlex.quote(self._uri)} mlflow experiments restore --experiment-id "
                    f"{experiment.experiment_id}"
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
        tags = {**schema.study_tags(study), "kind": RunKind.STUDY, schema.NOTE: study.description}
        run = self.client.create_run(self._experiment(study), tags=tags, run_name=schema.study_name(study))
        run_id: str = run.info.run_id
        self.log(run_id, {}, {"budget_bytes": study.budget_bytes})
        return run_id

    def _create_trial(self, study: StudyRecord, number: int, started: int) -> str:
        tags = {"kind": RunKind.TRIAL, "trial": str(number)}
        return self._nest(study, schema.trial_name(study, number), tags, started)

    def _run_of(
        self, study: StudyRecord, trial: TrialRecord, points: Mapping[Point, int], params: Mapping[str, Value]
    ) -> tuple[str, set[Point]]:
        """Return the run of a trial with the points that it has already; one that disagrees is made anew."""
        begun = self._begun.pop((study.name, trial.number), "")
        logged = self._logged.pop(begun, None)
        if logged is not None and logged <= points.keys():
            return begun, logged
        run = find_trial(self.client, study, trial.number)
        if run is not None:
            logged = self._points(run)
            same_params = all(run.data.params.get(key, str(value)) == str(value) for key, value in params.items())
            if same_params and logged <= points.keys():
                if not run.inputs.dataset_inputs:
                    self._log_dataset(run.info.run_id, study)
                return run.info.run_id, logged
            self.client.delete_run(run.info.run_id)
        return self._create_trial(study, trial.number, milliseconds(trial.timing.started) or now()), set()

    def _nest(self, study: StudyRecord, name: str, tags: Mapping[str, str], started: int) -> str:
        """Return the id of a new run nested in the study's."""
        all_tags = {**schema.study_tags(study), **tags, schema.PARENT: self.parent(study)}
        run_id: str = self.client.create_run(self._experiment(study), started, all_tags, run_name=name).info.run_id
        self._log_dataset(run_id, study)
        return run_id

    def _log_dataset(self, run_id: str, study: StudyRecord) -> None:
        """Log what the study ran on as the input of a run; a second time changes nothing."""
        self.client.log_inputs(run_id, [schema.dataset_input(study)])

    def _deliver_final(
        self,
        study: StudyRecord,
        final: FinalRecord,
        started: int,
        predictions: Predictions | None,
        artifacts: Callable[[FinalRecord], Mapping[str, bytes]],
        found: Sequence[Run],
    ) -> str:
        """Return the id of the run that agrees with `final`: one of those `found`, or a new one."""
        metrics = final_metrics(final, predictions)
        params, tags = schema.final_params(study, final), schema.final_tags(final)
        status = schema.status(final.outcome)
        texts = {key: str(value) for key, value in params.items()}
        for run in found:
            known: str = run.info.run_id
            says = ((run.data.tags, tags), (run.data.params, texts), (run.data.metrics, metrics))
            if run.info.status == status and all(said.items() >= due.items() for said, due in says):
                return known
        name = schema.with_score(schema.final_name(study, final), final.test_macro_f1, final.outcome)
        run_id = self._nest(study, name, tags, started)
        self._upload(run_id, {**artifacts(final), "final.json": dump_record(final)})
        ended = started + round(1000 * (final.timing.train_seconds or 0.0))
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
    experiment = client.get_experiment_by_name(schema.experiment_name(study))
    if experiment is None:
        return None
    tags = {"kind": RunKind.TRIAL, "study": study.name, "trial": str(number)}
    runs = search_runs(client, [experiment.experiment_id], tags)
    for extra in runs[1:]:
        client.delete_run(extra.info.run_id)
    return runs[0] if runs else None
