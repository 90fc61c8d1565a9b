"""The devices that trials run on, each proven by a self-test before the first of them starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from harness.errors import DeviceError
from harness.events import Note, Notify
from harness.keras_backend import check_backend
from harness.records import Source
from harness.settings import RunSettings
from harness.trials.pool import Pool
from harness.units import format_size
from harness.vram import nvml
from harness.vram.admission import CPU_LANE, Lane
from harness.vram.device import Device, resolve_device, visible_gpus
from harness.vram.probes import Choice, choose_probe
from harness.workspace import Workspace


@dataclass(frozen=True)
class Compute:
    """Where the trials of a run are trained: the pool that starts them, and the devices that it may use."""

    pool: Pool
    lanes: tuple[Lane, ...]


@contextmanager
def trial_pool() -> Iterator[Pool]:
    """Hold the pool that starts trials, for as long as the block runs."""
    with closing(Pool()) as pool:
        yield pool


@contextmanager
def computing(settings: RunSettings, notify: Notify) -> Iterator[Compute]:
    """Own the workspace of a run and all that trials are trained with, for as long as the block runs.

    Raises:
        UsageError: the Keras back end cannot serve.
        WorkspaceError: another process owns the workspace, or it cannot be written to.
        DeviceError: the GPU that was asked for is of no use.
    """
    check_backend()
    with Workspace(settings.workspace).lock(), trial_pool() as pool:
        # Before the data: that a GPU cannot be used is not to be learnt after minutes. Without one, the server of the
        # children imports the framework while the data is read.
        yield Compute(pool, lanes_for(settings, pool, notify))


@dataclass(frozen=True)
class ProvenDevices:
    """The devices of studies that are tested one after another; each is proven once."""

    pool: Pool
    notify: Notify
    _proven: dict[str, tuple[Lane, ...]] = field(default_factory=dict)

    def of(self, settings: RunSettings) -> tuple[Lane, ...]:
        """Return the device that a study asked for, for one trial at a time.

        Raises:
            DeviceError: it is of no use.
        """
        if settings.device not in self._proven:
            alone = settings.model_copy(update={"jobs": 1})
            self._proven[settings.device] = lanes_for(alone, self.pool, self.notify)
        return self._proven[settings.device]


def lanes_for(settings: RunSettings, pool: Pool, notify: Notify) -> tuple[Lane, ...]:
    """Return a lane for the device of a run, or with more than one job for every visible GPU that is of use beside it.

    Where `--device auto` leads to a GPU on which the framework cannot compute, trials run on the CPU, and that is said.

    Raises:
        DeviceError: the GPU that was asked for by its number is not there, or the framework cannot compute on it.
    """
    device = resolve_device(settings.device, os.environ)
    for note in device.notes:
        notify(Note(note, warning=device.unexpected))
    lanes = _proven(settings, device, pool, notify) if device.uuid is not None else []
    if settings.jobs == "auto" and all(lane.probe.source is Source.NONE for lane in lanes):
        notify(Note("--jobs auto: one trial at a time, since there is no measured GPU memory to share out."))
    return tuple(lanes) or (CPU_LANE,)


def _proven(settings: RunSettings, device: Device, pool: Pool, notify: Notify) -> list[Lane]:
    """Return the lanes of the GPUs of a run on which the framework computes; none leads to the CPU, and says so.

    Raises:
        DeviceError: the GPU that was asked for by its number is of no use.
    """
    if settings.device != "auto":
        lane, choice = prove(device, pool)
        notify(Note(choice.sentences[-1]))
        _warn_of_less(lane, settings, notify)
        return [lane]
    visible = sorted(visible_gpus(os.environ), key=lambda each: -(each.total_bytes or 0))
    lanes: list[Lane] = []
    for each in visible if settings.jobs == 1 else worthwhile(tuple(visible)):
        try:
            lane, choice = prove(each, pool)
        except DeviceError as error:
            notify(Note(str(error), warning=True))
            continue
        lanes.append(lane)
        notify(Note(choice.sentences[-1]))
        _warn_of_less(lane, settings, notify)
        if settings.jobs == 1:
            break
    if not lanes:
        notify(Note("TRIALS RUN ON THE CPU. Pass --device gpu:0 to stop here instead.", warning=True))
    return lanes


def _warn_of_less(lane: Lane, settings: RunSettings, notify: Notify) -> None:
    """Say so where a device has less free than the budget."""
    if lane.free_bytes is not None and lane.free_bytes < settings.vram_budget:
        budget, free = format_size(settings.vram_budget), format_size(lane.free_bytes)
        text = f"{lane.device.name}: {budget} asked for, {free} there for a trial; that is its limit."
        notify(Note(text, warning=True))


def worthwhile(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Leave out those with less than half of the largest one's memory: a card for a screen is no help to another."""
    largest = max((device.total_bytes or 0 for device in devices), default=0)
    return tuple(device for device in devices if 2 * (device.total_bytes or largest) >= largest)


def prove(device: Device, pool: Pool) -> tuple[Lane, Choice]:
    """Return the lane of a GPU on which the framework was seen to compute, and what measures it.

    Raises:
        DeviceError: it cannot compute there; the message says why, and what to do.
    """
    assert device.uuid is not None
    choice = choose_probe(device, partial(pool.self_test, device))
    exclusive = False
    with suppress(nvml.NvmlError):
        exclusive = nvml.is_exclusive(device.uuid)
    return Lane(device, choice.probe, choice.overhead_bytes, choice.idle_bytes, exclusive), choice
