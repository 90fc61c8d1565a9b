"""Plain Optuna's sampling: ask, suggest and tell with multivariate TPE, after so many finished trials, in memory.

https://optuna.readthedocs.io/en/stable/reference/samplers/generated/optuna.samplers.TPESampler.html
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import optuna

from benchmarks.peers.figures import Figures, report
from benchmarks.peers.task import find_family
from harness.families import Family


def main() -> None:
    """Sample after random trials whose scores are made up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="cnn2d-mfcc")
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--asks", type=int, default=5)
    options = parser.parse_args()
    report(lambda: measure(find_family(options.family), options.finished, options.asks))


def measure(family: Family, finished: list[int], asks: int) -> Figures:
    """Return the median CPU seconds of a trial for each number of finished trials, in the order of these."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    seen = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(max(finished)):
        sample(seen, family)
    medians = []
    for number in finished:
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True, group=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(seen.trials[:number])
        seconds = [sample(study, family) for _ in range(asks)]
        medians.append(statistics.median(seconds))
    return {"finished": finished, "trial_cpu_seconds": medians}


def sample(study: optuna.Study, family: Family) -> float:
    """Ask for a trial of the full space, tell a score of it, and return the CPU seconds that this took."""
    started = time.process_time()
    trial = study.ask()
    config = family.space(trial, False)
    study.tell(trial, 1 / (1 + abs(config["learning_rate"] - 1e-3) + config["dropout"]))
    return time.process_time() - started


if __name__ == "__main__":
    main()
