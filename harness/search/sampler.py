"""How Optuna samples and prunes, so that an interrupted study proposes what an undisturbed one does."""

from __future__ import annotations

import warnings
from collections.abc import Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState

from harness.hashing import seed_for

MAX_STARTUP_TRIALS = 10
MIN_STARTUP_TRIALS = 2

OBSERVED_TRIALS = 1_000
"""So many trials are modelled, and no proposal takes longer after more: the best, which are all of TPE's good ones, and
the latest of the others, as TPE itself gives old ones less weight."""


class ResumableTPE(optuna.samplers.BaseSampler):
    """TPE that draws what belongs to a trial from seeds of its own, and models at most `OBSERVED_TRIALS` others.

    Optuna's draws trial after trial from one stream, which a run that is taken up again would begin anew. Here, a seed
    is made from the study's and the trial's number, and from that one for each parameter that is drawn by itself: a
    trial that was cut off between two suggestions keeps the first ones.

    Trials that run beside it count as bad ones, so that what is tried at the same time differs.
    """

    def __init__(self, seed: int, startup: int) -> None:
        """Take the study's seed, and the number of trials that are random before the model takes over."""
        self._seed, self._startup = seed, startup
        self._observed = _Observed()
        self._relative = self._tpe(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what is sampled together; Optuna asks for it before it asks for any value of a trial."""
        self._observed.update(study)
        self._relative = self._tpe(seed_for(self._seed, trial.number))
        return self._relative.infer_relative_search_space(StudyView(study, self._observed.spaces), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._relative.sample_relative(StudyView(study, self._observed.trials), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        fresh = self._tpe(seed_for(seed_for(self._seed, trial.number), param_name))
        return fresh.sample_independent(StudyView(study, self._observed.trials), trial, param_name, param_distribution)

    def _tpe(self, seed: int) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():
            # `group` splits conditional spaces into their parts; Optuna calls it experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self._startup, multivariate=True, group=True, constant_liar=True
            )


class _Observed:
    """What a sampler sees of a study's trials: a function of those that ended and of those that run, whenever it was
    asked before.

    Attributes:
        trials: those that are modelled, by number.
        spaces: of each set of parameters that trials have, the first trial with it: how a space falls into parts
            depends on these alone.
    """

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self.spaces: list[FrozenTrial] = []
        # Trials before the first that is open do not change any more, so they are looked at once.
        self._closed = 0
        self._of_closed: tuple[list[FrozenTrial], list[FrozenTrial]] = [], []

    def update(self, study: optuna.Study) -> None:
        """Look at what is new in a study, always the same one."""
        trials = study.get_trials(deepcopy=False)
        start = self._closed
        while self._closed < len(trials) and trials[self._closed].state.is_finished():
            self._closed += 1
        self._of_closed = self._with(study, trials[start : self._closed])
        self.trials, self.spaces = self._with(study, trials[self._closed :])

    def _with(self, study: optuna.Study, more: list[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return what is seen of the closed trials and of more, which come after them."""
        trials, spaces = self._of_closed
        more = [trial for trial in more if trial.state not in (TrialState.WAITING, TrialState.FAIL)]
        known = {frozenset(trial.distributions): trial for trial in spaces}
        for trial in more:
            if trial.state is not TrialState.RUNNING:
                known.setdefault(frozenset(trial.distributions), trial)
        trials = trials + more
        if len(trials) > OBSERVED_TRIALS:
            good = default_gamma(OBSERVED_TRIALS)
            best, others = _split_trials(study, trials, good)
            trials = sorted(best + others[good - OBSERVED_TRIALS :], key=lambda trial: trial.number)
        return trials, list(known.values())


class StudyView(optuna.Study):
    """A study with some of its trials alone, as Optuna's own pruner by brackets shows one to a sampler."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]) -> None:
        vars(self).update(vars(study))
        self._shown = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._shown if states is None or trial.state in states]


def sampler(seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a study: TPE, seeded for each trial anew, so that resuming changes nothing.

    Args:
        seed: of the run.
        trials: total of the study. A third of them, 2 to 10, are random before the model takes over.
    """
    return ResumableTPE(seed, min(MAX_STARTUP_TRIALS, max(MIN_STARTUP_TRIALS, trials // 3)))


def pruner(epochs: int, folds: int) -> optuna.pruners.BasePruner:
    """Return the pruner of a study.

    With one fold: behind the median of the others at the same epoch, after a quarter of training. With several:
    worse than the best trial, track by track, by Wilcoxon's signed-rank test on log probabilities after each fold;
    scores of whole folds are too few to prune anything before the fourth.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if folds > 1:
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=max(3, epochs // 4))
