"""The child process of a trial: isolates itself, trains, sends messages, and always ends by itself.

It is forked from a server that has imported what `PRELOAD` names and touched no device.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.features.input_spec import InputView
from harness.keras_backend import backend
from harness.models import Config
from harness.records import EpochRecord, Outcome, Predictions
from harness.trials import framework, symptoms
from harness.trials.spec import NO_GPU, Ended, EpochEnded, FoldEnded, NoGpu, TrialSpec
from harness.trials.symptoms import Cause
from harness.vram.footprint import Footprint

PRELOAD = ("harness.trials.train",)
"""Modules that the fork server imports once, for all children."""


def isolate(environment: dict[str, str], log: Path) -> None:
    """Make this process the leader of a group of its own that does not outlive its parent.

    Args:
        environment: variables to set before the framework looks at them.
        log: where standard output and error go from here on.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(environment)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End the whole group once the parent is gone; the fork server outlives it, so no signal would come."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def run_trial(spec: TrialSpec, connection: Connection) -> None:
    """Train `spec` and send `EpochEnded`, `FoldEnded`, and one `Ended` or `NoGpu`, each answered with a bool."""
    isolate(dict(spec.environment), spec.log)

    def ask(message: EpochEnded | FoldEnded | Ended | NoGpu) -> bool:
        connection.send(message)
        return bool(connection.recv())

    ask(_train(spec, lambda record: ask(EpochEnded(record)), lambda predictions: ask(FoldEnded(predictions))))
    connection.close()


def _train(
    spec: TrialSpec, report: Callable[[EpochRecord], bool], fold_ended: Callable[[Predictions], bool]
) -> Ended | NoGpu:
    from harness.families import families
    from harness.trials.train import train

    try:
        if not spec.on_gpu:
            framework.hide_devices()
        framework.prepare(spec.threads, spec.deterministic, spec.seed, spec.cap_bytes, spec.device_bytes)
        if spec.on_gpu and not framework.computes_on_gpu():
            return NoGpu(framework.why_no_gpu(symptoms.tail(spec.log)))
        return train(spec, families()[spec.family], report, fold_ended)
    except MemoryError:
        return Ended(Outcome.HOST_OOM, "the machine's own memory ran out")
    except Exception as error:
        traceback.print_exc()
        first_line = str(error).strip().partition("\n")[0]
        if not symptoms.is_out_of_memory(f"{type(error).__name__} {error}", spec.on_gpu):
            return Ended(Outcome.CRASHED, f"{type(error).__name__}: {first_line}; its log is {spec.log}")
        if not spec.on_gpu:
            return Ended(Outcome.HOST_OOM, f"the machine's own memory ran out: {first_line}")
        peak = framework.allocator_peak()
        return Ended(Outcome.OOM, f"out of device memory: {first_line}", allocator_peak_bytes=peak)


def run_call(
    function: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], connection: Connection
) -> None:
    """Send (True, the answer of `function(*arguments)`), or (False, what went wrong)."""
    isolate(environment, Path(os.devnull))
    try:
        if environment.get("CUDA_VISIBLE_DEVICES") == NO_GPU:
            framework.hide_devices()
        else:
            framework.forget_fractions()
        connection.send((True, function(*arguments)))
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {error}"))
    connection.close()


def run_self_test(size: int, environment: dict[str, str], log: Path, connection: Connection) -> None:
    """Train a small network on the device, hold `size` bytes there, say how it went, and wait to be killed.

    Sends the bytes that the framework's allocator took (None where it does not tell), or the `Cause` of a failure.
    """
    isolate(environment, log)
    try:
        framework.prepare(threads=1, deterministic=False, seed=0)
        if not framework.computes_on_gpu():
            what, advice = framework.why_no_gpu(symptoms.tail(log))
            connection.send(Cause(f"{backend()} computes on the CPU: {what}", advice))
            return
        import keras

        framework.train_something()
        held = keras.ops.ones((size // 4,), "float32")
        float(held[-1])
        connection.send(framework.pool_bytes(log))
    except Exception as error:
        traceback.print_exc()
        first_line = str(error).strip().partition("\n")[0]
        what = f"{backend()} cannot train a small network there ({type(error).__name__}: {first_line})"
        connection.send(Cause(what, symptoms.remedy(f"{error} {symptoms.tail(log)}")))
        return
    threading.Event().wait()


def reckon(name: str, view: InputView, configs: Sequence[Config], genres: int) -> list[Footprint]:
    """Return the footprint of each configured model of the family called `name`, which sees `view`."""
    import keras

    from harness.vram.footprint import footprint

    # Shapes are enough: weights without values make a large network four times as fast to build.
    with keras.StatelessScope(initialize_variables=False):
        return [footprint(untrained(name, view, config, genres)) for config in configs]


def time_forward(name: str, view: InputView, config: Config, genres: int, crops: int) -> float:
    """Return the seconds of a forward pass over `crops` crops, the second of two: the first traces."""
    import numpy as np

    model = untrained(name, view, config, genres)
    inputs = np.zeros((crops, *model.input_shape[1:]), np.float32)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        model.predict_on_batch(inputs)
        seconds.append(time.perf_counter() - started)
    return seconds[1]


def untrained(name: str, view: InputView, config: Config, genres: int) -> Any:
    """Build the configured `keras.Model` of the family called `name`, as if its input were standardised."""
    import numpy as np

    from harness.families import families
    from harness.models import Shapes

    moments = np.zeros(view.rows, np.float32), np.ones(view.rows, np.float32)
    return families()[name].build(config, Shapes(view.shape, genres, *moments))


def server_threads() -> list[str]:
    """Return the names of the fork server's threads besides its first: a fork beside them could hang the child.

    The background thread of jemalloc, which an imported library brings, is left out: jemalloc is made to be forked.
    """
    tasks = Path(f"/proc/{os.getppid()}/task")
    names = {task.name: (task / "comm").read_text().strip() for task in tasks.glob("*")}
    return sorted(name for task, name in names.items() if task != tasks.parent.name and name != "jemalloc_bg_thd")


def server_maps(library: str) -> bool:
    """Whether the fork server has loaded a library: with the driver's in it, its children could not use a GPU."""
    return library in Path(f"/proc/{os.getppid()}/maps").read_text()
