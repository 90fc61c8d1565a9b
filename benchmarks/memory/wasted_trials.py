"""How many trials a memory budget wastes: the harness against plain Optuna that tells FAIL, paired by seed.

    python -m benchmarks.memory.wasted_trials measure RESULTS.jsonl     goes on where an interrupted run stopped
    python -m benchmarks.memory.wasted_trials report RESULTS.jsonl

An attempt is wasted if it was trained and passed the budget, or ran out of memory under its cap; a trial of the
harness's may have several attempts, and each of them counts. Each is a process of its own that builds the network and
trains one update. What it holds is what TensorFlow's CPU allocator says that it took; a stand-in for the NVIDIA driver
reports that figure, and the harness's own meter reads it and kills the process at the budget. The same network at the
same micro-batch is run once, and its reading used again. A cap is applied to that reading: what needs more is out of
memory. Only the score is made up: a smooth function of the hyperparameters that grows with the network, so that a
search is drawn to the edge of the budget.

Plain Optuna has the same space, the same first trial and its default sampler; a batch is one pass, as in a script
that knows no budget, and a trial that breaks the budget is told as FAIL.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import optuna
from scipy.stats import bootstrap

from benchmarks.memory.measurements import read, run_again_with_driver, write
from benchmarks.memory.one_update import GENRES
from benchmarks.memory.one_update_backend import OneUpdateBackend
from harness.families import Family, select
from harness.models import Config
from harness.records.trial import Outcome, ReadingSource
from harness.search.study import StudyRunner
from harness.testing.nvml_stub.driver import STATE
from harness.testing.records import RECORD, study_config
from harness.tracking.base import NullTracker
from harness.tracking.ledger import Ledger
from harness.trials.local.fork_server import ForkServer
from harness.units import GIB, MIB, format_size
from harness.vram.device import Device, DeviceKind
from harness.vram.slots import DeviceSlot
from harness.workspace import Workspace

FAMILY = "cnn2d-mfcc"
QUICK = True
"""The small space of `--quick`, so that a trial takes seconds on two cores; its networks are the real ones."""

BUDGET = 40 * MIB
TRIALS = 40
SEEDS = 20
CARD = Device(DeviceKind.GPU, "GPU-5e1f7e57-0000-0000-0000-000000000000", "Stand-in", 8 * GIB, "550.54.14")


def score(config: Config, footprint_bytes: int) -> float:
    """Return the made-up score: best at a learning rate of 5e-4, and better for what asks for more memory."""
    rate = math.log10(config["learning_rate"] / 5e-4)
    size = math.log2(footprint_bytes / (16 * MIB))
    return round(0.9 / (1 + math.exp(-size)) - 0.1 * abs(rate) - 0.1 * float(config["dropout"]), 6)


def ours(family: Family, seed: int, backend: OneUpdateBackend, folder: Path) -> dict[str, Any]:
    """Run the harness's study and return its trials by outcome, and its best score."""
    named = {"family": family.name, "study": f"{family.name}-{seed}"}
    ledger = Ledger(Workspace(folder))
    record = RECORD.model_copy(update={**named, "budget_bytes": BUDGET, "seed": seed, "quick": QUICK})
    config = study_config(ledger.open_study(record), family=family, trials=TRIALS, slots=backend.slots())
    before = backend.out_of_memory
    results = StudyRunner.open(config, None, backend, ledger, NullTracker(), lambda event: None).run()
    outcomes = [trial.outcome for trial in results.trials]
    return {
        "trained": sum(outcome is not Outcome.REFUSED for outcome in outcomes),
        "wasted": backend.out_of_memory - before,
        "lost": sum(outcome in (Outcome.OVER_BUDGET, Outcome.OOM) for outcome in outcomes),
        "refused": outcomes.count(Outcome.REFUSED),
        "best": results.best.scores.valid_macro_f1 if results.best else None,
    }


def plain(family: Family, seed: int, backend: OneUpdateBackend) -> dict[str, Any]:
    """Run plain Optuna over the same space and return its trials by outcome, and its best score."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(family.baseline))
    wasted = random_wasted = 0
    for number in range(TRIALS):
        trial = study.ask()
        config = family.space(trial, QUICK)
        if backend.bytes_in_use(config, config["batch_size"], 1) > BUDGET:
            wasted += 1
            random_wasted += 0 < number < 10
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            (footprint,) = backend.estimate_footprints(FAMILY, family.input_spec, [config], GENRES)
            study.tell(trial, score(config, footprint.peak(8, 1)))
    best = study.best_value if wasted < TRIALS else None
    return {"trained": TRIALS, "wasted": wasted, "random_wasted": random_wasted, "best": best}


def measure(file: Path) -> None:
    """Append the seeds that `file` lacks."""
    family = select([FAMILY])[0]
    done = {row["seed"] for row in read(file)}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    slot = DeviceSlot(CARD, ReadingSource.PROCESS)
    backend = OneUpdateBackend(ForkServer.start(), slot, Path(os.environ[STATE]).parent, FAMILY, BUDGET, score)
    backend.show_card()
    with file.open("a") as out:
        for seed in sorted(set(range(SEEDS)) - done):
            with tempfile.TemporaryDirectory() as folder:
                row = {
                    "seed": seed,
                    "optuna": plain(family, seed, backend),
                    "harness": ours(family, seed, backend, Path(folder)),
                }
            write(row, out)
            print(json.dumps(row), flush=True)


def report(file: Path) -> None:
    """Print both sides and their ratio."""
    rows = sorted(read(file), key=lambda row: row["seed"])
    for row in rows:
        print(json.dumps(row))
    theirs, own = ([row[side]["wasted"] for row in rows] for side in ("optuna", "harness"))
    print(f"{FAMILY}, quick space, budget {format_size(BUDGET)}, {len(rows)} seeds of {TRIALS} trained trials each")
    share = sum(row["optuna"]["random_wasted"] for row in rows) / (9 * len(rows))
    print(f"share of plain Optuna's random trials over the budget: {share:.0%}")
    print(f"wasted: plain Optuna {sum(theirs)}, the harness {sum(own)}: ratio {sum(own) / sum(theirs):.2f}")
    print(f"seeds in which ours wasted at most half: {sum(2 * a <= b for a, b in zip(own, theirs, strict=True))}")
    print(f"trials of the harness that ended out of memory: {sum(row['harness']['lost'] for row in rows)}")
    for side in ("optuna", "harness"):
        best = [row[side]["best"] for row in rows if row[side]["best"] is not None]
        print(f"best score of {side}: median {statistics.median(best):.3f}")
    gains = [row["harness"]["best"] - row["optuna"]["best"] for row in rows]
    low, high = bootstrap((gains,), statistics.fmean, vectorized=False, rng=0).confidence_interval
    print(
        f"best score, harness less Optuna, paired: mean {statistics.fmean(gains):+.3f}, 95 % interval {low:+.3f} to "
        f"{high:+.3f} (bootstrap over seeds, BCa)"
    )
    print(
        f"refused by the harness, untrained: {statistics.median(row['harness']['refused'] for row in rows):.0f} a seed"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "report":
        report(arguments.file)
    elif STATE in os.environ:
        measure(arguments.file)
    else:
        sys.exit(run_again_with_driver())
