"""A child that trains a small network on a device and holds memory there: proof that the framework computes on it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import UnusableGpuError, first_line
from harness.keras_backend import backend
from harness.trials import framework, symptoms
from harness.trials.local.child import isolate
from harness.trials.local.fork_server import ForkServer
from harness.trials.symptoms import Cause
from harness.units import MIB
from harness.vram.device import Device
from harness.vram.self_test import SelfTest

ANSWER_SECONDS = 180.0
"""How long a child may take to do its first work on a device: a driver that hangs never answers."""

SELF_TEST_BYTES = 256 * MIB
"""What the child holds."""


@contextmanager
def self_test_child(server: ForkServer, device: Device, size: int = SELF_TEST_BYTES) -> Iterator[SelfTest]:
    """Run a child that has trained a small network on the device and holds `size` bytes there, for the block.

    Raises:
        DeviceError: the framework cannot compute on the device, or does not answer; the message says why.
    """
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        child = server.fork(run_self_test, size, device.environment(), log)
        try:
            yield SelfTest(child.pid, size, _answer(child.connection, device, log))
        finally:
            child.kill()
            child.reap()
            child.connection.close()


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
        array = keras.ops.ones((size // 4,), "float32")
        float(array[-1])
        connection.send(framework.pool_bytes(log))
    except Exception as error:
        traceback.print_exc()
        what = f"{backend()} cannot train a small network there ({type(error).__name__}: {first_line(error)})"
        connection.send(Cause(what, symptoms.remedy(f"{error} {symptoms.tail(log)}")))
        return
    threading.Event().wait()


def _answer(connection: Connection, device: Device, log: Path) -> int | None:
    """Return what the child says that its allocator took.

    Raises:
        UnusableGpuError: it says that something went wrong, or nothing.
    """
    name = f"{device.name} ({device.uuid})"
    if not connection.poll(ANSWER_SECONDS):
        raise UnusableGpuError(
            name,
            f"nothing came back within {ANSWER_SECONDS:.0f} s, so the driver hangs, or compiles for a card that the "
            "framework does not know",
            "See what `nvidia-smi` says, and restart the machine",
        )
    try:
        answer = connection.recv()
    except EOFError:
        said = symptoms.tail(log)
        last_line = said.strip().rpartition("\n")[2][:200]
        answer = Cause(
            f"a small network cannot be trained there, the process died ({last_line})", symptoms.remedy(said)
        )
    if isinstance(answer, Cause):
        raise UnusableGpuError(name, *answer)
    return None if answer is None else int(answer)
