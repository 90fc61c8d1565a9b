"""A trial's start: its process until it may build a model, and the first step of training."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.performance.contenders import Contenders, cpu_seconds, process_seconds, spent, use_one_thread
from benchmarks.performance.processes import PEERS
from benchmarks.performance.row import Aim, Contender, Row, Setting, ratio_of
from benchmarks.performance.timed_job import run_timed_job

_HERE = ("python", "-m", "benchmarks.performance.child")
_OURS, _NEW, _RAY = "harness", "a new process a trial", "Ray Tune"
_OPTIMIZER_BUILT, _KERAS_ALONE = "as a trial compiles", "Keras alone"
_STEPS = 10
_STEP_FAMILIES = ("cnn2d-mfcc", "cnn-transformer")

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    trials = str(setting.size(12, 2))
    peers = str(setting.size(4, 1))
    start = Row(
        name="child",
        contenders=(
            Contender(_OURS, (*_HERE, "forked", "--trials", trials)),
            Contender(_NEW, ("python", "-m", "benchmarks.peers.new_process", "--trials", peers)),
            Contender(_RAY, (PEERS, "-m", "benchmarks.peers.ray_tune", "--trials", peers)),
        ),
        columns={
            "ready_cpu_seconds": "CPU until ready",
            "ready_wall_seconds": "wall until ready",
            "ready_all_cpu_seconds": "CPU of all that comes before",
            "build_cpu_seconds": "CPU of the build",
            "start_cpu_seconds": "CPU once a run",
        },
        compared=("ready_cpu_seconds", _OURS),
        aims=(
            Aim(
                "CPU of a new process until the child may build, in times ours",
                ratio_of("ready_cpu_seconds", _NEW, _OURS),
                at_least=50,
            ),
        ),
        rounds=3,
    )
    steps = [(f"{family}, {way}", family, way) for family in _STEP_FAMILIES for way in (_OPTIMIZER_BUILT, _KERAS_ALONE)]
    first = Row(
        name="trace",
        contenders=setting.few(
            *(
                Contender(name, (*_HERE, "first-step", family, *(["--keras-alone"] if way == _KERAS_ALONE else [])))
                for name, family, way in steps
            )
        ),
        columns={"first_cpu_seconds": "CPU of the first step", "later_cpu_seconds": "CPU of a later step"},
        aims=tuple(
            Aim(
                f"first step of {family}, as a share of Keras's own",
                ratio_of("first_cpu_seconds", f"{family}, {_OPTIMIZER_BUILT}", f"{family}, {_KERAS_ALONE}"),
                at_most=0.5,
            )
            for family in _STEP_FAMILIES
        ),
        rounds=3,
    )
    return start, first


@contenders.command()
def forked(trials: int = 12) -> dict[str, Any]:
    """Run jobs through the local back end whose children build a model and train nothing."""
    from benchmarks.gpu.trials import Bench, Point, Size, short_job
    from harness.families import family
    from harness.trials.backend import run_to_end
    from harness.trials.local.backend import JobFiles, LocalBackend
    from harness.trials.local.child import run_job
    from harness.trials.local.fork_server import Child, ForkServer
    from harness.units import GIB
    from harness.vram.slots import CPU_SLOT

    class TimedServer(ForkServer):
        def fork(self, target: Callable[..., None], *arguments: Any) -> Child:
            return super().fork(run_timed_job if target is run_job else target, *arguments)

    mfcc = family("cnn2d-mfcc")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        files = JobFiles(place / "store", lambda key: place / "model.keras", lambda key: place / "log")
        backend = LocalBackend(TimedServer.start(), files)
        bench = Bench(backend, CPU_SLOT, place, Size(tracks=100, valid=20, steps=10))
        bench.fill()
        spec = short_job(bench, Point(mfcc, "baseline", mfcc.baseline), 8, GIB)
        spec = replace(spec, keep_model=False)
        rows, footprints = [], []
        server = psutil.Process(json.loads(run_to_end(backend, spec, CPU_SLOT).report.message)["server"])
        once = process_seconds(server.pid)
        for _ in range(trials):
            before = _tree(server)
            backend.estimate_footprints(mfcc.name, mfcc.input_spec, [mfcc.baseline], 10)
            footprints.append(_tree(server) - before)
            before, started = cpu_seconds() + process_seconds(server.pid), time.time()
            end = json.loads(run_to_end(backend, spec, CPU_SLOT).report.message)
            around = cpu_seconds() + process_seconds(server.pid) - before
            rows.append((around + end["ready"], end["moment"] - started, end["build"]))
        backend.close()
    ready, wall, build = map(statistics.median, zip(*rows, strict=True))
    return {
        "ready_cpu_seconds": ready,
        "ready_wall_seconds": wall,
        "build_cpu_seconds": build,
        # The clock of children that ended counts in hundredths of a second.
        "ready_all_cpu_seconds": ready + statistics.fmean(footprints),
        "start_cpu_seconds": once,
    }


@contenders.command()
def first_step(family: str, keras_alone: bool = False) -> dict[str, Any]:
    """Train the baseline of a family on batches of noise; `keras_alone` leaves the optimizer to the first step."""
    use_one_thread()
    import keras
    import numpy as np

    from harness.families import families
    from harness.trials.model_probes import untrained
    from harness.trials.training import optimizer

    known = families()[family]
    config = known.baseline
    model = untrained(family, known.input_spec, dict(config), 10)
    inputs = np.random.default_rng(0).normal(size=(_STEPS * 8, *known.input_spec.shape)).astype(np.float32)
    labels: np.ndarray = np.eye(10, dtype=np.float32)[np.arange(len(inputs)) % 10]
    with spent() as first:
        if keras_alone:
            model.compile(
                optimizer=optimizer.build_optimizer(config, 100, 1),
                loss=keras.losses.CategoricalCrossentropy(),
                metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            )
        else:
            optimizer.compile_model(model, config, 100, 1)
        model.fit(inputs[:8], labels[:8], batch_size=8, verbose=0)
    with spent() as later:
        model.fit(inputs, labels, batch_size=8, verbose=0)
    return {"first_cpu_seconds": first.cpu, "later_cpu_seconds": later.cpu / _STEPS}


def _tree(server: psutil.Process) -> float:
    """Return the CPU seconds of this process, the fork server, and the children of both that ended."""
    times = server.cpu_times()
    return float(cpu_seconds() + process_seconds(server.pid) + times.children_user + times.children_system)


if __name__ == "__main__":
    contenders.print_figures()
