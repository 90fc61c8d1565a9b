"""How Optuna samples and prunes, so that an interrupted study proposes what an undisturbed one does."""

from __future__ import annotations

import warnings
from typing import Any

import optuna

from harness.hashing import seed_for

MAX_STARTUP_TRIALS = 10
MIN_STARTUP_TRIALS = 2


class ResumableTPE(optuna.samplers.TPESampler):
    """TPE that draws each independent parameter from a seed of its own.

    Optuna draws them one after another from one stream; a trial cut off between two suggestions keeps the first ones
    and would draw the others from the stream's beginning.
    """

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self._own_seed, self._options = seed, options

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            fresh = optuna.samplers.TPESampler(seed=seed_for(self._own_seed, param_name), **self._options)
        return fresh.sample_independent(study, trial, param_name, param_distribution)


def sampler(seed: int, number: int, trials: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one trial: TPE, fresh and seeded by (seed, number), so that resuming changes nothing.

    Args:
        seed: of the run.
        number: of the trial.
        trials: total of the study. A third of them, 2 to 10, are random before the model takes over.
    """
    startup = min(MAX_STARTUP_TRIALS, max(MIN_STARTUP_TRIALS, trials // 3))
    with warnings.catch_warnings():
        # `group` splits conditional spaces into their parts; Optuna calls it experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return ResumableTPE(seed_for(seed, number), n_startup_trials=startup, multivariate=True, group=True)


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
