"""A new process for each trial, as `subprocess` or a `spawn` context starts it: a new interpreter that imports all.

https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from benchmarks.peers.figures import Figures, report
from benchmarks.peers.task import Task, find_family, noise


def main() -> None:
    """Start processes one after another, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="cnn2d-mfcc")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--trial", action="store_true", help="be such a process")
    options = parser.parse_args()
    if options.trial:
        print(json.dumps(build_baseline(options.family)))
    else:
        report(lambda: measure(options.family, options.trials))


def measure(family: str, trials: int) -> Figures:
    """Return the median CPU and wall seconds of a trial's process until it may build its model, and of the build."""
    command = [sys.executable, "-m", "benchmarks.peers.new_process", "--trial", "--family", family]
    ready, walls, built = [], [], []
    for _ in range(trials):
        started = time.time()
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        trial = json.loads(answer.splitlines()[-1])
        ready.append(trial["ready"])
        built.append(trial["built"] - trial["ready"])
        walls.append(trial["ready_at"] - started)
    return {
        "trials": trials,
        "ready_cpu_seconds": statistics.median(ready),
        "ready_all_cpu_seconds": statistics.median(ready),
        "ready_wall_seconds": statistics.median(walls),
        "build_cpu_seconds": statistics.median(built),
    }


def build_baseline(name: str) -> dict[str, float]:
    """Import what training takes and build the baseline of a family, as a process does whose only trial this is.

    Returns:
        CPU seconds of this process since it began, until it may build (`ready`) and until it has built (`built`), and
        the moment when it might build, in seconds since 1970 (`ready_at`).
    """
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    import harness.models.layers
    import harness.trials.training.optimizer  # noqa: F401

    ready, ready_at = time.process_time(), time.time()
    family = find_family(name)
    Task(family, noise(family.input_spec.shape, crops=10), epochs=1).build(family.baseline)
    return {"ready": ready, "ready_at": ready_at, "built": time.process_time()}


if __name__ == "__main__":
    main()
