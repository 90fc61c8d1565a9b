"""A study as Optuna holds it, in memory: the only module that knows how Optuna asks, is told, and takes trials up.

Promises of an `OptunaStudy`:

**The ledger is the truth.** A study is made from what is on record: trials that ended, and what was sampled of those
that were cut off. Nothing is read back from Optuna.

**Numbers.** Trials are numbered from 0 without gaps, and no number is given twice. Trial 0 is the family's baseline.

**Proposals.** What a trial samples depends on the study's seed, its number, what was told of others and what those
sampled that run beside it, and on nothing else: a study that is killed and taken up again proposes what an undisturbed
one does.

**Reports.** What a trial reported is what its latest attempt reported, as on record: an earlier one, in this run or one
that was cut off, is forgotten, for the trial trains from its beginning again.

**Ends.** A trial is told once, after the ledger has its record, constraints first. Outcomes that say something about a
configuration are told as PRUNED, never as FAIL, for samplers ignore failed trials.

**A storage that the user named** is told of all, the record of each trial with it, and asked for nothing but by
`SharedStudy`: for trials that ended there alone, and for what was sampled of others. Where it and the ledger differ,
the search follows the ledger.

**Threads.** One thread of one process uses a study; a storage may hold many.

`harness.testing.study_contract` holds these promises as tests, and `storage_contract` for every kind of storage. What
they rely on beyond Optuna's own promises is tested in `tests/test_assumptions.py`: a trial that a killed process left
RUNNING is taken up through the constructor of `optuna.Trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import TrialRecord
from harness.search.frozen_trials import FrozenTrials, told_state
from harness.search.sampler import StudyView, pruner, sampler
from harness.search.shared_study import SharedStudy

IMPORTANCE_TRIALS = 500
"""So many completed trials show which hyperparameters matter; fANOVA takes 8 s of CPU for these, and 77 for 2,400."""


class OpenTrial:
    """A trial that Optuna waits to be told of."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial, shared: SharedStudy | None) -> None:
        self._study, self._trial, self._shared = study, trial, shared

    @property
    def number(self) -> int:
        return self._trial.number

    @property
    def params(self) -> dict[str, Value]:
        """What has been sampled so far, by name."""
        return self._trial.params

    @property
    def last_report(self) -> tuple[int, float] | None:
        """The last step that was reported, and the value there."""
        frozen = self._frozen()
        step = frozen.last_step
        return None if step is None else (step, frozen.intermediate_values[step])

    def begin_attempt(self) -> None:
        """Forget what an earlier attempt reported; Optuna itself takes a step once, and looks in both places."""
        for each in (self._frozen(), self._trial._cached_frozen_trial):
            each.intermediate_values = {}

    def report(self, values: Mapping[int, float]) -> bool:
        """Report what the running attempt reached, by step, and return whether the trial should go on.

        Raises:
            WorkspaceError: another workspace took the study over, through a storage that the user named.
        """
        for step, value in values.items():
            self._trial.report(value, step)
        if self._shared is not None:
            self._shared.report(self.number, values)
        return not self._trial.should_prune()

    def tell(self, record: TrialRecord) -> None:
        """Tell how the trial ended; constraints first, for nothing can be set on a trial that has ended.

        Raises:
            WorkspaceError: another workspace took the study over, through a storage that the user named.
        """
        for name, value in record.constraints.items():
            self._trial.set_constraint(name, value)
        state, score = told_state(record), record.scores.valid_macro_f1
        self._study.tell(self._trial, score if state is TrialState.COMPLETE else None, state)
        if self._shared is not None:
            self._shared.write(self._frozen(), record)

    def sample(self, space: Callable[[Suggest, bool], Config], quick: bool) -> Config:
        """Return the configuration that the study's sampler chooses from a space.

        Raises:
            WorkspaceError: another workspace took the study over, through a storage that the user named.
        """
        config = space(self._trial, quick)
        if self._shared is not None:
            self._shared.write(self._frozen())
        return config

    def _frozen(self) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[self.number]


@dataclass(frozen=True)
class OptunaStudy:
    """One study in Optuna's memory; `open` makes it, `restore` fills it.

    Attributes:
        memory: where Optuna holds it.
        shared: the study in a storage that the user named.
    """

    record: StudyRecord
    study: optuna.Study
    memory: optuna.storages.InMemoryStorage
    shared: SharedStudy | None

    @classmethod
    def open(
        cls, record: StudyRecord, trials: int, folds: int, storage: optuna.storages.BaseStorage | None
    ) -> OptunaStudy:
        """Open a study, without trials.

        Args:
            trials: total that it is to have.
            folds: trainings of a trial.
            storage: one that the user named, which is to hold the study, too.
        """
        # Optuna tells of each trial that ends, and so does the harness.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        memory = optuna.storages.InMemoryStorage()
        study = optuna.create_study(
            study_name=record.name,
            storage=memory,
            sampler=sampler(record.seed, trials),
            pruner=pruner(record.epochs, folds),
            direction="maximize",
        )
        shared = SharedStudy(record.name, storage) if storage is not None else None
        return cls(record, study, memory, shared)

    def restore(
        self,
        ended: Mapping[int, TrialRecord],
        running: Mapping[int, Mapping[str, Value]],
        baseline: Config,
        space: Callable[[Suggest, bool], Config],
        reported: Callable[[TrialRecord], Mapping[int, float]],
    ) -> list[OpenTrial]:
        """Make the trials that are on record, under their numbers, and return those that have not ended.

        A number between them that is not on record becomes a trial that was cut off before it was sampled.

        Args:
            ended: the trials that ended, by number.
            running: what was sampled of those that were cut off.
            baseline: the first trial of a new study.
            space: what they were sampled from.
            reported: what a trial reported on its way, by step, as far as it matters to others.
        """
        made, unfinished = FrozenTrials(space, self.record.quick), []
        sampled = {**(self.shared.running() if self.shared is not None else {}), **running}
        for number in range(max({*ended, *sampled}, default=-1) + 1):
            if number in ended:
                self._add(made.ended(ended[number], reported(ended[number])))
            else:
                enqueued = baseline if number == 0 else {}
                trial_id = self._add(made.running(number, sampled.get(number, {}), enqueued))
                unfinished.append(OpenTrial(self.study, optuna.Trial(self.study, trial_id), self.shared))
        if self.shared is not None:
            self.shared.correct(self.study.get_trials(deepcopy=False), ended)
        if not ended and not sampled:
            self.study.enqueue_trial(dict(baseline))
        return unfinished

    def ask(self) -> OpenTrial:
        """Return a new trial."""
        return OpenTrial(self.study, self.study.ask(), self.shared)

    def sample(self, trial: OpenTrial, space: Callable[[Suggest, bool], Config]) -> Config:
        """Return the configuration of a trial; one that was cut off while it was sampled keeps what it has."""
        trial.begin_attempt()
        return trial.sample(space, self.record.quick)

    def importance(self, ended: Mapping[int, TrialRecord]) -> dict[str, float]:
        """Return each hyperparameter's share of the variance of the score (fANOVA); empty with too few trials.

        Of more than `IMPORTANCE_TRIALS` completed ones, so many are looked at, evenly spread over the search.
        """
        completed = sorted(number for number, trial in ended.items() if trial.completed)
        count = min(len(completed), IMPORTANCE_TRIALS)
        spread = [completed[place * len(completed) // count] for place in range(count)]
        if len({ended[number].scores.valid_macro_f1 for number in spread}) < 2:
            return {}
        trials = self.study.get_trials(deepcopy=False)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.record.seed)
        seen = StudyView(self.study, [trials[number] for number in spread])
        return optuna.importance.get_param_importances(seen, evaluator=evaluator)

    def _add(self, trial: FrozenTrial) -> int:
        return self.memory.create_new_trial(self.memory.get_study_id_from_name(self.record.name), trial)
