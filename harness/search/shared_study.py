"""A study in a storage that a user named: written for others to see or to take over, read only when it is opened."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from harness.errors import WorkspaceError
from harness.records.base import Value
from harness.records.trial import TrialRecord
from harness.tracking.serialization import dump_record, parse_record

_OWNER = "workspace"
"""The attribute of a study that holds the id of the workspace that goes on with it."""

_RECORD = "record"
"""The attribute of a trial that ended that holds its record, as the ledger of its workspace does."""


class SharedStudy:
    """A study as one storage holds it. Its trials have the numbers that they have in the workspace."""

    def __init__(self, study: str, storage: BaseStorage) -> None:
        """Open a study; it is made where it is not there."""
        optuna.create_study(study_name=study, storage=storage, direction="maximize", load_if_exists=True)
        self._study, self._storage, self._owner = study, storage, ""
        self._id = storage.get_study_id_from_name(study)

    def take_over(self, workspace: str, ended: Iterable[int]) -> list[TrialRecord]:
        """Make the study a workspace's, and return the records of trials that ended and that it does not hold.

        Args:
            workspace: its id.
            ended: the numbers of the trials that it holds.

        Raises:
            WorkspaceError: a trial has no record to take over; nothing was changed.
        """
        known = set(ended)
        stored = self._storage.get_all_trials(self._id, deepcopy=False)
        ended_here = [trial for trial in stored if trial.state.is_finished() or _RECORD in trial.user_attrs]
        taken = [self._record(trial) for trial in ended_here if trial.number not in known]
        self._storage.set_study_user_attr(self._id, _OWNER, workspace)
        self._owner = workspace
        return taken

    def running(self) -> dict[int, Mapping[str, Value]]:
        """Return what was sampled of the trials that have not ended, by number."""
        stored = self._storage.get_all_trials(self._id, deepcopy=False)
        return {trial.number: trial.params for trial in stored if not trial.state.is_finished() and trial.params}

    def correct(self, trials: Iterable[FrozenTrial], ended: Mapping[int, TrialRecord]) -> None:
        """Bring the storage to what a workspace holds, but for trials that ended: Optuna changes nothing of them.

        Args:
            trials: all of the study's, by number.
            ended: the records of those that ended.
        """
        stored = self._storage.get_all_trials(self._id, deepcopy=False)
        for trial in trials:
            before = stored[trial.number] if trial.number < len(stored) else None
            if before is None or not before.state.is_finished():
                self._write(trial, ended.get(trial.number), before)

    def write(self, trial: FrozenTrial, record: TrialRecord | None = None) -> None:
        """Write a trial: that it runs or, with its record, how it ended; the record first, its state last.

        Raises:
            WorkspaceError: another workspace took the study over.
        """
        self._check_owner()
        try:
            before = self._storage.get_trial(self._trial_id(trial.number))
        except KeyError:
            before = None
        self._write(trial, record, before)

    def report(self, number: int, values: Mapping[int, float]) -> None:
        """Write what a running trial reached, by step; a later attempt replaces what an earlier one did.

        Raises:
            WorkspaceError: another workspace took the study over.
        """
        self._check_owner()
        for step, value in values.items():
            self._storage.set_trial_intermediate_value(self._trial_id(number), step, value)

    def _write(self, trial: FrozenTrial, record: TrialRecord | None, before: FrozenTrial | None) -> None:
        attributes = {_RECORD: dump_record(record, indent=None).decode()} if record is not None else {}
        if before is None:
            template = copy.copy(trial)
            template.user_attrs = attributes
            self._storage.create_new_trial(self._id, template)
            return
        storage, trial_id = self._storage, before._trial_id
        for name, value in trial.params.items():
            if name not in before.params:
                distribution = trial.distributions[name]
                storage.set_trial_param(trial_id, name, distribution.to_internal_repr(value), distribution)
        for key, text in attributes.items():
            storage.set_trial_user_attr(trial_id, key, text)
        for key, attribute in trial.system_attrs.items():
            if before.system_attrs.get(key) != attribute:
                storage.set_trial_system_attr(trial_id, key, attribute)
        for step, value in trial.intermediate_values.items():
            if before.intermediate_values.get(step) != value:
                storage.set_trial_intermediate_value(trial_id, step, value)
        if trial.state.is_finished():
            storage.set_trial_state_values(trial_id, trial.state, trial.values)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        where = f"trial {trial.number} of {self._study}"
        if _RECORD not in trial.user_attrs:
            raise WorkspaceError(
                f"Optuna's storage: {where} ended without its record, so that no workspace can take it over. Go on in "
                "the workspace that made it, or name another --storage."
            )
        record = parse_record(TrialRecord, trial.user_attrs[_RECORD].encode(), f"{where} in Optuna's storage")
        if (record.study, record.number) != (self._study, trial.number):
            raise WorkspaceError(f"Optuna's storage: the record of {where} belongs to another trial.")
        return record

    def _check_owner(self) -> None:
        if self._storage.get_study_user_attrs(self._id).get(_OWNER) != self._owner:
            raise WorkspaceError(
                f"{self._study}: was taken over by another workspace, through Optuna's storage. What ended here is "
                "kept; go on there, or start the same command again to take the study back."
            )
