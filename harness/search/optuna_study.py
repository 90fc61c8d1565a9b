"""A study in Optuna's storage: the only module that knows how Optuna keeps and resumes trials.

Promises of an `OptunaStudy`, whatever storage Optuna opened for it:

**Owner.** A study belongs to the workspace that made it, by the workspace's id. Another one is turned away before
anything is asked or told.

**Loss.** Trials that the workspace holds and the storage lost are made again by `restore`, under their numbers:
a storage may be deleted, or put back from an old copy.

**Numbers.** Trials are numbered from 0 without gaps, and no number is given twice. Trial 0 is the family's baseline.

**Proposals.** What a trial samples depends on the study's seed, its number and what was told of others, and on nothing
else: a study that is killed and taken up again proposes what an undisturbed one does. A trial that was cut off between
two suggestions keeps the first ones.

**Reports.** A step of a trial is reported once, however many attempts reach it.

**Ends.** A trial is told once, after the ledger has its record, constraints first. What the ledger alone knows is told
by `resume`; what neither knows of is returned by it, to be run under its number. Outcomes that say
something about a configuration are told as PRUNED, never as FAIL, for samplers ignore failed trials.

**Threads.** One thread of one process uses a study; a storage may hold many.

`harness.testing.storage_contract` holds these promises as tests, for every kind of storage. What they rely on beyond
Optuna's own promises is tested in `tests/test_assumptions.py`: a trial that a killed process left RUNNING is taken up
through the constructor of `optuna.Trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna

from harness.errors import WorkspaceError
from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import Outcome, TrialRecord
from harness.search.sampler import pruner, sampler

# Told as PRUNED: samplers ignore failed trials, and would propose the same again.
_PRUNED = {
    Outcome.PRUNED,
    Outcome.REFUSED,
    Outcome.OVER_BUDGET,
    Outcome.OOM,
    Outcome.TIMEOUT,
    Outcome.DIVERGED,
}


class OpenTrial:
    """A trial that Optuna waits to be told of.

    Reports are write-once: steps that an interrupted or an earlier attempt reported are not reported again.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial) -> None:
        self._study, self._trial = study, trial
        self._reported: frozenset[int] = frozenset()
        self._passed: set[int] = set()

    @property
    def number(self) -> int:
        return self._trial.number

    @property
    def params(self) -> dict[str, Value]:
        """What has been sampled so far, by name."""
        return self._trial.params

    def begin_attempt(self) -> None:
        """Count steps anew; those that were reported before stay reported."""
        self._reported = frozenset(_frozen(self._study, self.number).intermediate_values)
        self._passed = set()

    def report(self, values: Mapping[int, float]) -> bool:
        """Report what the running attempt reached, by step, and return whether the trial should go on."""
        self._passed.update(values)
        for step, value in values.items():
            if step not in self._reported:
                self._trial.report(value, step)
        # Before the last step that an earlier attempt reported, the pruner would judge by that one.
        return not (self._reported <= self._passed and self._trial.should_prune())

    def tell(self, record: TrialRecord) -> None:
        """Tell how the trial ended; constraints first, for nothing can be set on a trial that has ended."""
        already = _frozen(self._study, self.number).constraints
        for name, value in record.constraints.items():
            if name not in already:
                self._trial.set_constraint(name, value)
        if record.completed:
            self._study.tell(self._trial, record.scores.valid_macro_f1)
        elif record.outcome in _PRUNED:
            self._study.tell(self._trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._trial, state=optuna.trial.TrialState.FAIL)

    def sample(self, space: Callable[[Suggest, bool], Config], quick: bool) -> Config:
        """Return the configuration that the study's sampler chooses from a space."""
        return space(self._trial, quick)


@dataclass(frozen=True)
class OptunaStudy:
    """One study in Optuna's storage; `open` makes it where it is not there."""

    record: StudyRecord
    study: optuna.Study

    @classmethod
    def open(cls, record: StudyRecord, trials: int, folds: int, storage: optuna.storages.BaseStorage) -> OptunaStudy:
        """Open a study.

        Args:
            trials: total that it is to have.
            folds: trainings of a trial.
        """
        study = optuna.create_study(
            study_name=record.name,
            storage=storage,
            sampler=sampler(record.seed, trials),
            pruner=pruner(record.epochs, folds),
            direction="maximize",
            load_if_exists=True,
        )
        return cls(record, study)

    def check_ownership(self, workspace: str, ended: Mapping[int, TrialRecord]) -> None:
        """Make sure that Optuna's storage and a workspace tell of the same study, and that it stays so.

        Args:
            workspace: its id.
            ended: the trials that it holds, by number.

        Raises:
            WorkspaceError: another workspace made the study in this storage.
        """
        name, trials = self.record.name, self.study.get_trials(deepcopy=False)
        finished = {trial.number for trial in trials if trial.state.is_finished()}
        if self.study.user_attrs.get("workspace", workspace) != workspace or not finished <= ended.keys():
            raise WorkspaceError(
                f"Optuna's storage holds trials of {name} that another workspace made. Go on in that one, or start a "
                "new --workspace with a storage of its own."
            )
        self.study.set_user_attr("workspace", workspace)

    def restore(
        self,
        ended: Mapping[int, TrialRecord],
        baseline: Config,
        space: Callable[[Suggest, bool], Config],
        reported: Callable[[TrialRecord], Mapping[int, float]],
    ) -> None:
        """Make the trials again that a workspace holds and the storage has lost.

        A number between them that the workspace does not hold becomes a trial that was cut off before it was sampled.
        Killed in between, the next call goes on.

        Args:
            ended: the trials that are on record, by number.
            baseline: the first trial of a new study.
            space: what they were sampled from.
            reported: what a trial reported on its way, by step, as far as its record tells.
        """
        trials = self.study.get_trials(deepcopy=False)
        waiting = [trial for trial in trials if trial.state is optuna.trial.TrialState.WAITING]
        for number in range(len(trials) - len(waiting), max(ended, default=-1) + 1):
            if number in ended and not waiting:
                self.study.enqueue_trial(ended[number].params)
            elif number == 0 and not waiting:
                self.study.enqueue_trial(dict(baseline))
            waiting = []
            trial = self.ask()
            if number in ended:
                self.sample(trial, space)
                trial.report(reported(ended[number]))
                trial.tell(ended[number])

    def resume(self, ended: Mapping[int, TrialRecord], baseline: Config) -> list[OpenTrial]:
        """Tell Optuna of trials that ended and that it was not told of, and return those that were cut off.

        Args:
            ended: the trials that are on record, by number.
            baseline: the first trial of a new study.
        """
        frozen_trials = self.study.get_trials(deepcopy=False)
        if not frozen_trials:
            self.study.enqueue_trial(dict(baseline))
        unfinished = []
        for frozen in frozen_trials:
            if frozen.state is not optuna.trial.TrialState.RUNNING:
                continue
            trial = OpenTrial(self.study, optuna.Trial(self.study, frozen._trial_id))
            if frozen.number in ended:
                trial.tell(ended[frozen.number])
            else:
                unfinished.append(trial)
        return unfinished

    def ask(self) -> OpenTrial:
        """Return a new trial."""
        return OpenTrial(self.study, self.study.ask())

    def sample(self, trial: OpenTrial, space: Callable[[Suggest, bool], Config]) -> Config:
        """Return the configuration of a trial; one that was cut off while it was sampled keeps what it has."""
        trial.begin_attempt()
        return trial.sample(space, self.record.quick)

    def importance(self, ended: Mapping[int, TrialRecord]) -> dict[str, float]:
        """Return each hyperparameter's share of the variance of the score (fANOVA); empty with too few trials."""
        completed = [trial for trial in ended.values() if trial.completed]
        if len({trial.scores.valid_macro_f1 for trial in completed}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.record.seed)
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)


def _frozen(study: optuna.Study, number: int) -> optuna.trial.FrozenTrial:
    return study.get_trials(deepcopy=False)[number]
