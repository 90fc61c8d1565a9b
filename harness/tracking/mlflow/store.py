"""The runs of studies, trials and finals in an MLflow store: made, found by tags, brought to what a record says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.records import FinalRecord, FinalsRecord, Kind, Outcome, Predictions, StudyRecord, TrialRecord, Value
from harness.tracking.ledger import dump_record
from harness.tracking.mlflow.connection import connect, search_runs, unreachable
from harness.tracking.mlflow.points import Point, final_metrics, is_ours, milliseconds, now, trial_points

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
        self.set_status(run_id, status)

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
        self._upload(run_id, {**files, "trial.json": dump_record(trial)})
        missing = {point: moment for point, moment in points.items() if point not in logged}
        self.log(run_id, missing, params, {"outcome": trial.outcome, "vram.source": trial.reading.source})
        result = f"{trial.valid_macro_f1:.2f}" if trial.completed and trial.valid_macro_f1 else str(trial.outcome)
        self.client.update_run(run_id, name=f"{trial_name(study, trial.number)} · {result}")
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
            location = self._artifact_root.resolve().as_uri() if self._artifact_root is not None else None
            self._experiments[name] = (
                experiment.experiment_id if experiment is not None else self.client.create_experiment(name, location)
            )
        return self._experiments[name]

    def _create_parent(self, study: StudyRecord) -> str:
        tags = {**_tags(study), "kind": Kind.STUDY, "mlflow.note.content": study.description}
        name = f"{study.family} · {study.study.removeprefix(f'{study.family}-')}"
        run_id: str = self.client.create_run(self._experiment(study), tags=tags, run_name=name).info.run_id
        self.log(run_id, {}, {"budget_bytes": study.budget_bytes})
        return run_id

    def _create_trial(self, study: StudyRecord, number: int, started: int) -> str:
        return self._nest(study, trial_name(study, number), {"kind": Kind.TRIAL, "trial": str(number)}, started)

    def _nest(self, study: StudyRecord, name: str, tags: Mapping[str, str], started: int) -> str:
        """Return the id of a new run nested in the study's."""
        all_tags = {**_tags(study), **tags, "mlflow.parentRunId": self.parent(study)}
        run_id: str = self.client.create_run(self._experiment(study), started, all_tags, run_name=name).info.run_id
        return run_id

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
        result = f"{final.test_macro_f1:.2f}" if final.test_macro_f1 is not None else str(final.outcome)
        run_id = self._nest(study, f"{final_name(study, final)} · {result}", tags, started)
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


def trial_name(study: StudyRecord, number: int) -> str:
    """Return what a reader calls a trial."""
    return f"{study.family} · trial {number}"


def final_name(study: StudyRecord, final: FinalRecord) -> str:
    """Return what a reader calls a final run."""
    fold = "" if final.fold is None else f", outer fold {final.fold + 1}"
    return f"{study.family} · {final.role}, seed {final.seed + 1}{fold}"


def _tags(study: StudyRecord) -> dict[str, str]:
    return {
        "family": study.family,
        "study": study.study,
        "space": study.space,
        "dataset": study.dataset.name,
        "protocol": study.protocol.name,
        "commit": study.provenance.commit,
    }
