"""How Optuna samples and prunes, so that an interrupted study proposes what an undisturbed one does."""

from __future__ import annotations

import hashlib
import warnings

import optuna

MAX_STARTUP_TRIALS = 10
MIN_STARTUP_TRIALS = 2


def seed_for(*parts: int | str) -> int:
    """Return a seed in [0, 2^32) that depends on `parts` alone, on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


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
        return optuna.samplers.TPESampler(
            n_startup_trials=startup, multivariate=True, group=True, seed=seed_for(seed, number)
        )


def pruner(epochs: int) -> optuna.pruners.BasePruner:
    """Return the pruner of a study: behind the median of the others at the same epoch, after a quarter of training."""
    return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=max(3, epochs // 4))
