"""Ray Tune: each trial is a function in an actor, a process of its own, as long as `reuse_actors` stays False.

https://docs.ray.io/en/latest/tune/api/doc/ray.tune.TuneConfig.html
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import ray
from ray import tune

from benchmarks.peers.figures import Figures, report
from benchmarks.peers.new_process import build_baseline

SAMPLE_SECONDS = 0.2
"""How often the processor time of Ray's processes is read: what one uses after the last time before its end is lost."""


def main() -> None:
    """Run trials that build a model, one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="cnn2d-mfcc")
    parser.add_argument("--trials", type=int, default=4, help="at least 2")
    options = parser.parse_args()
    if options.trials < 2:
        parser.error("--trials: from one trial to the next is what is measured, so there must be 2")
    report(lambda: measure(options.family, options.trials))


class TreeTime(threading.Thread):
    """The course of the processor time of this process and all below it, those that ended included."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._processes: dict[psutil.Process, float] = {}
        self._course: list[tuple[float, float]] = []

    def run(self) -> None:
        while True:
            self._course.append((time.time(), self.read()))
            time.sleep(SAMPLE_SECONDS)

    def read(self) -> float:
        """Return user and system seconds so far, without those of this thread."""
        root = psutil.Process()
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._processes[process] = times.user + times.system
        return sum(self._processes.values()) - time.thread_time()

    def between(self, moments: Sequence[float]) -> list[float]:
        """Return how much was used from each moment, in seconds since 1970, to the next."""
        times, seconds = zip(*self._course, strict=True)
        return list(np.diff(np.interp(moments, times, seconds)))


def measure(family: str, trials: int) -> Figures:
    """Return what a trial takes until it is ready: its own process, and all processes from ready trial to ready trial.

    The latter holds the end of the trial before it, and what Ray does meanwhile.
    """

    def trainable(config: dict[str, Any]) -> None:
        tune.report(build_baseline(config["family"]))

    tree = TreeTime()
    tree.start()
    started = time.time()
    ray.init()
    initialized = time.time()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            trainable,
            param_space={"family": family},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=1),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = [result.metrics for result in tuner.fit()]
    ray.shutdown()
    ready_at = sorted(result["ready_at"] for result in results)
    return {
        "trials": trials,
        "start_cpu_seconds": tree.between([started, initialized])[0],
        "start_wall_seconds": initialized - started,
        "ready_cpu_seconds": statistics.median(result["ready"] for result in results),
        "build_cpu_seconds": statistics.median(result["built"] - result["ready"] for result in results),
        "ready_all_cpu_seconds": statistics.median(tree.between(ready_at)),
        "ready_wall_seconds": statistics.median(np.diff(ready_at)),
    }


if __name__ == "__main__":
    main()
