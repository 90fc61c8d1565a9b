"""What a search spends on its books: Optuna, the ledger and MLflow, while nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.performance.contenders import Contenders, spent
from benchmarks.performance.processes import PEERS
from benchmarks.performance.row import Aim, Contender, Row, Setting

_HERE = ("python", "-m", "benchmarks.performance.bookkeeping")
_OURS, _SLOW, _NOTEBOOK = "harness", "harness, every epoch sent by itself", "a call a value"

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    trials = ("--trials", str(setting.size(30, 3)))
    return (
        Row(
            name="bookkeeping",
            contenders=setting.few(
                Contender(_OURS, (*_HERE, "search", *trials)),
                Contender(_SLOW, (*_HERE, "search", "--every-epoch", *trials)),
                Contender(_NOTEBOOK, (PEERS, "-m", "benchmarks.peers.notebook_tracking", "--epochs", "50")),
            ),
            columns={
                "trial_cpu_seconds": "CPU a trial",
                "search_cpu_seconds": "CPU in the search's way",
                "trial_wall_seconds": "wall a trial",
            },
            compared=("trial_cpu_seconds", _OURS),
            aims=(
                Aim(
                    "in the search's way, of a trial",
                    lambda found: found.median(_OURS, "search_cpu_seconds"),
                    at_most=0.02,
                    unit="s",
                ),
                Aim(
                    "CPU of all, in times a notebook's",
                    lambda found: found.times("trial_cpu_seconds", _OURS, _NOTEBOOK),
                    at_most=0.1,
                ),
            ),
            rounds=3,
        ),
    )


@contenders.command()
def search(trials: int = 30, epochs: int = 50, every_epoch: bool = False) -> dict[str, Any]:
    """Run a study whose trials end at once; what is made once is made by a few trials before."""
    from harness.records.trial import EpochRecord, Outcome, ValidationScores
    from harness.settings import StoreSettings
    from harness.testing.backends import FakeBackend
    from harness.testing.records import RECORD, study_config
    from harness.tracking.ledger import Ledger
    from harness.tracking.mlflow.tracker import MLflowTracker
    from harness.trials.job import TrialSpec
    from harness.trials.report import TrialReport
    from harness.workflows import publish

    predictions = _predictions()

    def end(spec: TrialSpec, passed: Sequence[EpochRecord]) -> TrialReport:
        scores = ValidationScores(valid_accuracy=0.5, valid_macro_f1=0.5, train_accuracy=0.5)
        return TrialReport(Outcome.COMPLETED, "", tuple(passed), len(passed), scores, predictions=predictions)

    def score(spec: TrialSpec, epoch: int) -> float:
        if every_epoch:
            time.sleep(0.05)
        return epoch / epochs

    with TemporaryDirectory() as folder:
        stores = StoreSettings(workspace=Path(folder))
        ledger = Ledger(stores.place)
        record = ledger.open_study(RECORD.model_copy(update={"epochs": epochs}))
        for total in (2, 2 + trials):
            runner_config = study_config(record, trials=total)
            with spent() as whole:
                tracker = publish.open_tracker(stores, ledger, lambda event: None)
                assert isinstance(tracker, MLflowTracker)
                tracker._interval = 0.01 if every_epoch else tracker._interval
                with spent() as ours:
                    open_runner(runner_config, FakeBackend(end=end, score=score), ledger, tracker).run()
                tracker.close()
    return {
        "trial_cpu_seconds": whole.cpu / trials,
        "search_cpu_seconds": ours.thread / trials,
        "trial_wall_seconds": ours.wall / trials,
    }


def open_runner(config: Any, backend: Any, ledger: Any, tracker: Any = None, notify: Any = None) -> Any:
    """Return a study in progress as `harness run` opens one: rows need this in one place."""
    from harness.search.storage import open_storage
    from harness.search.study import StudyRunner
    from harness.tracking.base import NullTracker

    storage = open_storage(ledger.workspace.optuna_url, ledger.workspace.root)
    return StudyRunner.open(config, storage, backend, ledger, tracker or NullTracker(), notify or (lambda event: None))


def _predictions() -> Any:
    from benchmarks.performance.workspaces import made_up_predictions

    return made_up_predictions()


if __name__ == "__main__":
    contenders.print_figures()
