"""Plain Optuna: all trials in one process, Keras's session cleared before each, as Optuna's example for Keras does.

https://github.com/optuna/optuna-examples/blob/main/keras/keras_simple.py. After each trial it collects garbage, as the
FAQ on memory says: https://optuna.readthedocs.io/en/stable/faq.html
"""

from __future__ import annotations

import argparse

import keras
import optuna

from benchmarks.peers.figures import Figures, report, rss_bytes
from benchmarks.peers.task import Task, add_options, from_options


def main() -> None:
    """Run a search."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report(lambda: search(from_options(options), options.trials, options.seed))


def search(task: Task, trials: int, seed: int) -> Figures:
    """Search, and return the resident memory after each trial, with the best accuracy."""
    rss: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        config = task.space(trial)
        model = task.build(config)
        history = model.fit(**task.arrays, batch_size=config["batch_size"], epochs=task.epochs, verbose=0)
        return float(max(history.history["val_accuracy"]))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(
        objective, n_trials=trials, gc_after_trial=True, callbacks=[lambda study, trial: rss.append(rss_bytes())]
    )
    return {"trials": trials, "best_accuracy": study.best_value, "rss_bytes": rss}


if __name__ == "__main__":
    main()
