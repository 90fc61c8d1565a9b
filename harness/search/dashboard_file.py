"""Studies as a file for optuna-dashboard: written whole from what is on record, and read by nobody here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from harness.addresses import sqlite_url
from harness.errors import WorkspaceError, first_line
from harness.families import Family
from harness.files import replacing, writing
from harness.records.study import StudyRecord
from harness.records.trial import RunningTrial, TrialRecord
from harness.search.frozen_trials import FrozenTrials

_MARK = 0x68726E73
"""The `application_id` of SQLite files that were written here: no others are replaced."""


def trials_on_record(
    family: Family, study: StudyRecord, ended: Iterable[TrialRecord], running: Iterable[RunningTrial]
) -> list[FrozenTrial]:
    """Return the trials of a study as Optuna holds them, by number; with folds, without what they reported."""
    made = FrozenTrials(family.space, study.quick)
    trials = [made.running(trial.number, trial.params, {}) for trial in running]
    for trial in ended:
        scores = {epoch.epoch: epoch.val_macro_f1 for epoch in trial.epochs if epoch.fold is None}
        trials.append(made.ended(trial, scores))
    return sorted(trials)


def write_dashboard_file(path: Path, studies: Iterable[tuple[str, Sequence[FrozenTrial]]]) -> None:
    """Write a SQLite file that Optuna opens as a storage, in the place of one that was written here before.

    Args:
        path: with the suffix `.db`, or any.
        studies: by name, each with its trials by number.

    Raises:
        WorkspaceError: it cannot be written, or another file is there.
    """
    from sqlalchemy import text  # of Optuna
    from sqlalchemy.exc import SQLAlchemyError

    _check_replaceable(path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with replacing(path) as unfinished:
        try:
            storage = optuna.storages.RDBStorage(sqlite_url(unfinished.resolve()))
            try:
                with storage.engine.begin() as connection:
                    connection.execute(text(f"PRAGMA application_id = {_MARK}"))
                for name, trials in studies:
                    optuna.create_study(study_name=name, storage=storage, direction="maximize")
                    _insert(storage, storage.get_study_id_from_name(name), trials)
            finally:
                storage.engine.dispose()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            reason = first_line(error.__cause__ or error)
            raise WorkspaceError(f"{path}: cannot be written ({reason}). Free some space, or name another.") from error


def _check_replaceable(path: Path) -> None:
    with writing(path):
        head = b""
        if path.exists():
            with path.open("rb") as file:
                head = file.read(100)
    if head and (head[:16], head[68:72]) != (b"SQLite format 3\0", _MARK.to_bytes(4, "big")):
        raise WorkspaceError(
            f"{path}: is there already, and was not written for optuna-dashboard. Move it away, or name another file."
        )


def _insert(storage: optuna.storages.RDBStorage, study: int, trials: Sequence[FrozenTrial]) -> None:
    """Insert trials in one transaction; `Study.add_trials` takes one for each, and a query for each parameter."""
    from optuna.storages._rdb import models
    from sqlalchemy import func, select

    with storage.engine.begin() as connection:
        before = connection.execute(select(func.max(models.TrialModel.trial_id))).scalar() or 0
        rows = _rows(models, study, list(enumerate(trials, start=before + 1)))
        for model, content in rows:
            if content:
                connection.execute(model.__table__.insert(), content)


def _rows(
    models: Any, study: int, trials: Sequence[tuple[int, FrozenTrial]]
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield each of Optuna's tables with its rows; trials come with their keys."""
    # Trials that were sampled alike share their distributions.
    distributions = {id(each): each for _, trial in trials for each in trial.distributions.values()}
    encoded = {key: distribution_to_json(each) for key, each in distributions.items()}
    yield models.TrialModel, [{"trial_id": key, "study_id": study} | _trial_row(trial) for key, trial in trials]
    as_value = models.TrialValueModel.value_to_stored_repr
    yield (
        models.TrialValueModel,
        [
            {"trial_id": key, "objective": 0} | dict(zip(("value", "value_type"), as_value(trial.value), strict=True))
            for key, trial in trials
            if trial.value is not None
        ],
    )
    yield (
        models.TrialParamModel,
        [
            {
                "trial_id": key,
                "param_name": name,
                "param_value": distribution.to_internal_repr(trial.params[name]),
                "distribution_json": encoded[id(distribution)],
            }
            for key, trial in trials
            for name, distribution in trial.distributions.items()
        ],
    )
    as_report = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    columns = ("intermediate_value", "intermediate_value_type")
    yield (
        models.TrialIntermediateValueModel,
        [
            {"trial_id": key, "step": step} | dict(zip(columns, as_report(value), strict=True))
            for key, trial in trials
            for step, value in trial.intermediate_values.items()
        ],
    )
    yield (
        models.TrialSystemAttributeModel,
        [
            {"trial_id": key, "key": name, "value_json": json.dumps(value)}
            for key, trial in trials
            for name, value in trial.system_attrs.items()
        ],
    )


def _trial_row(trial: FrozenTrial) -> dict[str, Any]:
    times = {"datetime_start": _utc(trial.datetime_start), "datetime_complete": _utc(trial.datetime_complete)}
    return {"number": trial.number, "state": trial.state, **times}


def _utc(time: datetime | None) -> datetime | None:
    """Return a time as the tables hold it."""
    return time.astimezone(UTC).replace(tzinfo=None) if time is not None else None
