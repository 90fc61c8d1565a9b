"""What a search spends on its books: Optuna, the ledger and MLflow, while nothing is trained."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.performance.contenders import Contenders, spent
from benchmarks.performance.processes import PEERS
from benchmarks.performance.row import Aim, Contender, Row, Setting, median_of, ratio_of

_HERE = ("python", "-m", "benchmarks.performance.bookkeeping")
_OURS, _SLOW, _NOTEBOOK = "harness", "harness, every epoch sent by itself", "a call a value"

_WHY = (
    "By a profile about half of it is the picture of a trial's confusion matrix, which the notebook does not draw, and "
    "most of the rest MLflow's insert of 200 points."
)

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
                "proposal_cpu_seconds": "CPU of the proposal, apart",
                "trial_wall_seconds": "wall a trial",
            },
            compared=("trial_cpu_seconds", _OURS),
            aims=(
                Aim(
                    "in the search's way, of a trial",
                    median_of(_OURS, "search_cpu_seconds"),
                    at_most=0.02,
                    unit="s",
                ),
                Aim(
                    "CPU of all, in times a notebook's",
                    ratio_of("trial_cpu_seconds", _OURS, _NOTEBOOK),
                    at_most=0.1,
                    why_missed=_WHY,
                ),
                Aim(
                    "the same, every epoch sent by itself",
                    ratio_of("trial_cpu_seconds", _SLOW, _NOTEBOOK),
                    at_most=0.1,
                    why_missed="Each of the 50 requests is a transaction of MLflow's.",
                ),
            ),
            rounds=3,
        ),
    )


@contenders.command()
def search(trials: int = 30, epochs: int = 50, every_epoch: bool = False) -> dict[str, Any]:
    """Run a study whose trials end at once; what is made once is made by a few trials before.

    What is spent between a trial's end and the start of the next one is the proposal's, and counts apart.
    """
    from benchmarks.performance.searches import open_search
    from harness.events import Event, TrialFinished, TrialStarted
    from harness.families import family
    from harness.settings import StoreSettings
    from harness.testing.records import RECORD, study_config
    from harness.tracking.ledger import Ledger
    from harness.tracking.mlflow.tracker import MLflowTracker
    from harness.workflows.publish import open_tracker

    moments: list[tuple[type[Event], float]] = []

    def notify(event: Event) -> None:
        moments.append((type(event), time.thread_time()))

    def score(epoch: int) -> float:
        if every_epoch:
            time.sleep(0.05)
        return epoch / epochs

    with TemporaryDirectory() as folder:
        stores = StoreSettings(workspace=Path(folder))
        ledger = Ledger(stores.place)
        searched = family("cnn2d-mfcc")
        about = {"family": searched.name, "name": f"{searched.name}-0a1b2c3d", "epochs": epochs, "quick": True}
        record = ledger.open_study(RECORD.model_copy(update=about))
        for total in (2, 2 + trials):
            with spent() as whole:
                tracker = open_tracker(stores, ledger, lambda event: None)
                assert isinstance(tracker, MLflowTracker)
                tracker._interval = 0.01 if every_epoch else tracker._interval
                with spent() as ours:
                    open_search(
                        study_config(record, family=searched, trials=total), ledger, score, tracker, notify
                    ).run()
                tracker.close()
    between = (TrialFinished, TrialStarted)
    asked = [then[1] - before[1] for before, then in pairwise(moments) if (before[0], then[0]) == between]
    proposals = sum(asked[-trials:])
    return {
        "trial_cpu_seconds": (whole.cpu - proposals) / trials,
        "search_cpu_seconds": (ours.thread - proposals) / trials,
        "proposal_cpu_seconds": proposals / trials,
        "trial_wall_seconds": ours.wall / trials,
    }


if __name__ == "__main__":
    contenders.print_figures()
