"""KerasTuner: a search in one process, with a `HyperModel` that samples the batch size, too.

https://keras.io/keras_tuner/api/hypermodels/base_hypermodel/
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from benchmarks.peers.figures import Figures, report, rss_bytes
from benchmarks.peers.task import Task, add_options, from_options


def main() -> None:
    """Run a search."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--tuner", choices=["random", "hyperband"], default="random")
    parser.add_argument("--trials", type=int, default=30, help="of the random search; Hyperband follows from --epochs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report(lambda: search(from_options(options), options.tuner, options.trials, options.seed))


class Suggestions:
    """Hyperparameters as a space asks for them."""

    def __init__(self, parameters: keras_tuner.HyperParameters) -> None:
        self._parameters = parameters

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._parameters.Float(name, low, high, step=step, sampling="log" if log else "linear"))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        options: dict[str, Any] = {"sampling": "log"} if log else {"step": step}
        return int(self._parameters.Int(name, low, high, **options))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._parameters.Choice(name, list(choices))


class TaskModel(keras_tuner.HyperModel):
    """The task as KerasTuner wants it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.rss: list[int] = []

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        return self.task.build(self.task.space(Suggestions(hp)))

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        history = model.fit(*args, batch_size=self.task.space(Suggestions(hp))["batch_size"], **kwargs)
        self.rss.append(rss_bytes())
        return history


def search(task: Task, tuner: str, trials: int, seed: int) -> Figures:
    """Search, and return the resident memory after each training, with the best accuracy."""
    model = TaskModel(task)
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {
            "objective": "val_accuracy",
            "seed": seed,
            "directory": folder,
            "max_consecutive_failed_trials": 1,
        }
        if tuner == "hyperband":
            found = keras_tuner.Hyperband(model, max_epochs=task.epochs, **options)
            found.search(**task.arrays, verbose=0)
        else:
            found = keras_tuner.RandomSearch(model, max_trials=trials, **options)
            found.search(**task.arrays, epochs=task.epochs, verbose=0)
        best = found.oracle.get_best_trials(1)[0].score
    return {"trials": len(found.oracle.trials), "best_accuracy": best, "rss_bytes": model.rss}


if __name__ == "__main__":
    main()
