"""How many trials a memory budget wastes: the harness against plain Optuna that tells FAIL, paired by seed.

    python benchmarks/wasted_trials.py measure RESULTS.jsonl     goes on where an interrupted run stopped
    python benchmarks/wasted_trials.py report RESULTS.jsonl

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
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
from scipy.stats import bootstrap

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from footprint_error import GENRES, one_update  # noqa: E402
from nvml_stub import STATE, build, describe  # noqa: E402
from search_helpers import FOLDS, PREDICTIONS, RECORD  # noqa: E402

from harness.families import Family, select  # noqa: E402
from harness.processes import kill_group  # noqa: E402
from harness.records.trial import EpochRecord, Outcome, Reading  # noqa: E402
from harness.search.study import Plan, Study  # noqa: E402
from harness.tracking.base import NullTracker  # noqa: E402
from harness.tracking.ledger import Ledger  # noqa: E402
from harness.trials import framework, worker  # noqa: E402
from harness.trials.pool import NO_DEVICE, End, Epoch, Pool  # noqa: E402
from harness.trials.spec import Ended, TrialSpec
from harness.units import GIB, MIB, format_size  # noqa: E402
from harness.vram.admission import Lane  # noqa: E402
from harness.vram.device import resolve_device  # noqa: E402
from harness.vram.meter import Meter  # noqa: E402
from harness.vram.probes import ProcessProbe  # noqa: E402
from harness.workspace import Workspace  # noqa: E402

FAMILY = "cnn2d-mfcc"
QUICK = True
"""The small space of `--quick`, so that a trial takes seconds on two cores; its networks are the real ones."""

BUDGET = 40 * MIB
TRIALS = 40
SEEDS = 20
UUID = "GPU-5e1f7e57-0000-0000-0000-000000000000"


def score(config: Any, footprint_bytes: int) -> float:
    """Return the made-up score: best at a learning rate of 5e-4, and better for what asks for more memory."""
    rate = math.log10(config["learning_rate"] / 5e-4)
    size = math.log2(footprint_bytes / (16 * MIB))
    return round(0.9 / (1 + math.exp(-size)) - 0.1 * abs(rate) - 0.1 * config["dropout"], 6)


def hold(config: dict[str, Any], micro_batch: int, accumulation: int, figure: str, connection: Connection) -> None:
    """Train one update, writing what the allocator has taken into the file `figure`; wait to be let go."""
    worker.isolate(NO_DEVICE, Path(os.devnull))
    framework.prepare(threads=1, deterministic=False, seed=0)
    ended = threading.Event()
    writer = threading.Thread(target=_write_figure, args=(Path(figure), ended), daemon=True)
    writer.start()
    one_update(FAMILY, config, micro_batch, accumulation)
    ended.set()
    writer.join()
    connection.send(framework.allocator_peak())
    connection.recv()


def _write_figure(figure: Path, ended: threading.Event) -> None:
    """Write the allocator's peak every 20 ms, once more at the end: allocators on a GPU keep what they took."""
    last = False
    while True:
        partial = figure.with_suffix(".new")
        partial.write_text(str(framework.allocator_peak()))
        partial.replace(figure)
        if last:
            return
        last = ended.wait(0.02)


class OneUpdate(Pool):
    """A pool whose trials train one update, one at a time, watched as real trials are."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._waiting = folder, list[TrialSpec]()
        self._seen: dict[str, int] = {}
        self.wasted = 0
        self._reckoned: dict[str, Any] = {}

    def reckon(self, family: str, input_spec: Any, config: Any, genres: int) -> Any:
        key = json.dumps(structure(config))
        if key not in self._reckoned:
            self._reckoned[key] = super().reckon(family, input_spec, config, genres)
        return self._reckoned[key]

    def start(self, spec: TrialSpec, lane: Lane) -> None:
        self._waiting.append(spec)

    def events(self) -> Iterator[Epoch | End]:
        spec = self._waiting.pop()
        cap = spec.cap_bytes or spec.budget_bytes
        held = self.held_by(dict(spec.config), spec.micro_batch, spec.accumulation)
        reading = Reading(peak_bytes=min(held, cap), source=ProcessProbe.source)
        if held > cap:
            self.wasted += 1
            yield End(spec, Ended(Outcome.OOM, allocator_peak_bytes=cap), reading, pool_bytes=cap)
            return
        value = score(spec.config, self.reckon(FAMILY, spec.input_spec, spec.config, GENRES).peak(8, 1))
        epoch = EpochRecord(epoch=1, loss=1, accuracy=1, val_loss=1, val_accuracy=1, val_macro_f1=value, seconds=1)
        known: dict[str, Any] = {"epochs": (epoch,), "best_epoch": 1, "predictions": PREDICTIONS, "train_seconds": 1.0}
        known |= {"valid_accuracy": value, "valid_macro_f1": value, "allocator_peak_bytes": held}
        yield End(spec, Ended(Outcome.COMPLETED, **known), reading, pool_bytes=held)

    def held_by(self, config: dict[str, Any], micro_batch: int, accumulation: int) -> int:
        """Return what a child that trains one update was seen to hold, until it passed the budget."""
        key = json.dumps([structure(config), micro_batch, accumulation])
        if key not in self._seen:
            self._seen[key] = self._watch(config, micro_batch, accumulation)
        return self._seen[key]

    def _watch(self, config: dict[str, Any], micro_batch: int, accumulation: int) -> int:
        ours, theirs = self._context.Pipe()
        figure = self._folder / "figure"
        figure.write_text("0")
        arguments = config, micro_batch, accumulation, str(figure), theirs
        process = self._context.Process(target=hold, args=arguments, daemon=True)
        process.start()
        theirs.close()
        assert process.pid is not None
        pid = process.pid
        describe(f"card {UUID} {8 * GIB} Stand-in", f"process {pid} file:{figure}")
        with Meter(ProcessProbe(UUID), pid, BUDGET, on_over_budget=lambda _: kill_group(pid)) as meter:
            try:
                allocator = ours.recv()
            except EOFError:
                allocator = None
            meter.sample_now()
            held = meter.reading.peak_bytes
            if allocator is not None:
                assert held == allocator, (held, allocator)
                # A short peak above the budget is seen after the fact: the child lives, its trial is over all the same.
                with suppress(BrokenPipeError):
                    ours.send(True)
        kill_group(pid)
        process.join()
        ours.close()
        assert held is not None
        return held


def structure(config: Any) -> list[Any]:
    """Return what of a configuration decides about memory."""
    irrelevant = {"learning_rate", "weight_decay", "warmup", "label_smoothing", "mixup", "patience", "dropout"}
    irrelevant |= {"l2_weight", "batch_norm_momentum", "window", "crops_per_track", "class_weights"}
    irrelevant |= {"row_mask_width", "frame_mask_width", "batch_size"}
    return sorted((name, value) for name, value in config.items() if name not in irrelevant)


def ours(family: Family, seed: int, pool: OneUpdate, folder: Path) -> dict[str, Any]:
    """Run the harness's study and return its trials by outcome, and its best score."""
    device = resolve_device("gpu:0", {})
    plan = Plan(
        family=family,
        record=RECORD.model_copy(
            update={
                "family": family.name,
                "study": f"{family.name}-{seed}",
                "budget_bytes": BUDGET,
                "seed": seed,
                "quick": QUICK,
            }
        ),
        trials=TRIALS,
        folds=FOLDS,
        store=folder,
        min_micro_batch=8,
        jobs=1,
        threads=1,
        deterministic=False,
        time_limit_seconds=None,
        trial_time_limit_seconds=None,
        lanes=(Lane(device, ProcessProbe(UUID)),),
    )
    study = Study(
        plan, optuna.storages.InMemoryStorage(), pool, Ledger(Workspace(folder)), NullTracker(), lambda event: None
    )
    pool.wasted = 0
    results = study.run()
    outcomes = [trial.outcome for trial in results.trials]
    return {
        "trained": sum(outcome is not Outcome.REFUSED for outcome in outcomes),
        "wasted": pool.wasted,
        "lost": sum(outcome in (Outcome.OVER_BUDGET, Outcome.OOM) for outcome in outcomes),
        "refused": outcomes.count(Outcome.REFUSED),
        "best": results.best.valid_macro_f1 if results.best else None,
    }


def plain(family: Family, seed: int, pool: OneUpdate) -> dict[str, Any]:
    """Run plain Optuna over the same space and return its trials by outcome, and its best score."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(family.baseline))
    wasted = random_wasted = 0
    for number in range(TRIALS):
        trial = study.ask()
        config = family.space(trial, QUICK)
        if pool.held_by(dict(config), config["batch_size"], 1) > BUDGET:
            wasted += 1
            random_wasted += 0 < number < 10
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score(config, pool.reckon(FAMILY, family.input_spec, config, GENRES).peak(8, 1)))
    best = study.best_value if wasted < TRIALS else None
    return {"trained": TRIALS, "wasted": wasted, "random_wasted": random_wasted, "best": best}


def measure(file: Path) -> None:
    """Append the seeds that `file` lacks."""
    family = select([FAMILY])[0]
    done = {row["seed"] for row in read(file)}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    state = Path(os.environ[STATE]).parent
    describe(f"card {UUID} {8 * GIB} Stand-in")
    with closing(OneUpdate(state)) as pool, file.open("a") as out:
        for seed in sorted(set(range(SEEDS)) - done):
            with tempfile.TemporaryDirectory() as folder:
                row = {
                    "seed": seed,
                    "optuna": plain(family, seed, pool),
                    "harness": ours(family, seed, pool, Path(folder)),
                }
            print(json.dumps(row), file=out, flush=True)
            print(json.dumps(row), flush=True)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


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


def with_driver(file: Path) -> None:
    """Run this script again where the loader finds the stand-in for the driver."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "driver"
        build(library)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library), STATE: str(library / "state")}
        status = os.spawnve(os.P_WAIT, sys.executable, [sys.executable, __file__, "measure", str(file)], environment)
    sys.exit(status)


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
        with_driver(arguments.file)
