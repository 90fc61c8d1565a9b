"""A trial as Optuna holds it, made from what is on record of it, without sampling or asking anything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value
from harness.records.trial import Outcome, TrialRecord
from harness.search.space import RecordedPoint, UnknownPoint

# Told as PRUNED: samplers ignore failed trials, and would propose the same again.
_PRUNED = {
    Outcome.PRUNED,
    Outcome.REFUSED,
    Outcome.OVER_BUDGET,
    Outcome.OOM,
    Outcome.TIMEOUT,
    Outcome.DIVERGED,
}


def told_state(record: TrialRecord) -> TrialState:
    """Return the state that Optuna is told of a trial that ended."""
    if record.completed and record.scores.valid_macro_f1 is not None:
        return TrialState.COMPLETE
    return TrialState.PRUNED if record.outcome in _PRUNED else TrialState.FAIL


class FrozenTrials:
    """Makes the trials of one study; those that were sampled alike share their distributions.

    A space is asked again which distributions a trial was sampled from, as far as it still knows the values: what
    follows one that it does not know is left out.
    """

    def __init__(self, space: Callable[[Suggest, bool], Config], quick: bool) -> None:
        self._space, self._quick = space, quick
        self._known: dict[tuple[Any, ...], BaseDistribution] = {}

    def ended(self, record: TrialRecord, reported: Mapping[int, float]) -> FrozenTrial:
        """Return a trial that ended, in the state in which `OpenTrial.tell` leaves it.

        Args:
            reported: what it reported on its way, by step.
        """
        state = told_state(record)
        value = record.scores.valid_macro_f1 if state is TrialState.COMPLETE else None
        if state is TrialState.PRUNED and reported:
            last = reported[max(reported)]
            value = None if last != last else last  # Optuna takes no NaN
        made = self._made(record.number, state, record.params)
        made.intermediate_values = dict(reported)
        made.value = value
        for name, constraint in record.constraints.items():
            made.set_constraint(name, constraint)
        made.datetime_start, made.datetime_complete = _local(record.timing.started), _local(record.timing.ended)
        return made

    def running(self, number: int, params: Mapping[str, Value], enqueued: Mapping[str, Value]) -> FrozenTrial:
        """Return a trial that has not ended.

        Args:
            params: what was sampled so far.
            enqueued: what it is to sample; empty where the sampler chooses.
        """
        made = self._made(number, TrialState.RUNNING, params)
        if enqueued:
            made.system_attrs = {"fixed_params": dict(enqueued)}
        return made

    def _made(self, number: int, state: TrialState, params: Mapping[str, Value]) -> FrozenTrial:
        point = RecordedPoint(params, self._known)
        with suppress(UnknownPoint):
            self._space(point, self._quick)
        return _Template(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params={name: params[name] for name in point.distributions},
            distributions=point.distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )


class _Template(FrozenTrial):
    """A trial that a storage takes as it is; Optuna's copy each distribution for each trial, which takes a gigabyte."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Template:
        return copy.copy(self)


def _local(time: str) -> datetime:
    """Return a time of a record as Optuna keeps times; now, where there is none."""
    return datetime.fromisoformat(time).astimezone().replace(tzinfo=None) if time else datetime.now()
