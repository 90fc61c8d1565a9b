"""Tracking as notebooks do it: Optuna's study in SQLite, and a call of MLflow for each value. Nothing is trained.

https://mlflow.org/docs/latest/ml/tracking/quickstart/ and
https://optuna.readthedocs.io/en/stable/tutorial/20_recipes/001_rdb.html
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time

import mlflow
import optuna

from benchmarks.peers.figures import Figures, cpu_seconds, report
from benchmarks.peers.task import find_family

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
"""What is logged of each epoch, as `harness` does."""


def main() -> None:
    """Track trials whose scores are made up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="cnn2d-mfcc")
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    report(lambda: track(options.family, options.trials, options.epochs))


def track(family_name: str, trials: int, epochs: int) -> Figures:
    """Return the median CPU and wall seconds that tracking a trial takes, making the databases left out."""
    family = find_family(family_name)
    cpu: list[float] = []
    wall: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        family.space(trial, True)
        with mlflow.start_run(run_name=f"trial-{trial.number}"):
            mlflow.log_params(trial.params)
            for epoch in range(1, epochs + 1):
                score = 1 - 1 / (trial.number + epoch + 1)
                for name in CURVES:
                    mlflow.log_metric(name, score, step=epoch)
                trial.report(score, step=epoch)
                trial.should_prune()
            mlflow.log_metric("best_val_accuracy", score)
        return score

    with tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_experiment("notebook")
        study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", direction="maximize")
        for _ in range(trials):
            before, started = cpu_seconds(), time.perf_counter()
            study.optimize(objective, n_trials=1)
            cpu.append(cpu_seconds() - before)
            wall.append(time.perf_counter() - started)
    return {
        "trials": trials,
        "epochs": epochs,
        "trial_cpu_seconds": statistics.median(cpu),
        "trial_wall_seconds": statistics.median(wall),
    }


if __name__ == "__main__":
    main()
