"""The devices that trials run on, each proven by a self-test before the first of them starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from harness.errors import DeviceError
from harness.events import Note, Notify
from harness.keras_backend import check_backend
from harness.records.trial import ReadingSource
from harness.settings import ComputeSettings, RunSettings
from harness.tracking.job_files import job_files
from harness.tracking.ledger import Ledger
from harness.trials.local.backend import LocalBackend
from harness.trials.local.fork_server import ForkServer
from harness.trials.local.self_test import self_test_child
from harness.units import format_size
from harness.vram.device import Device, resolve_device, visible_gpus
from harness.vram.self_test import Choice, choose_probe
from harness.vram.slots import CPU_SLOT, DeviceSlot
from harness.workflows.early_checks import check_settings


@dataclass(frozen=True)
class Compute:
    """Where the trials of a run are trained: the back end that carries them out, and the devices that it may use.

    Attributes:
        ledger: of the workspace.
    """

    ledger: Ledger
    backend: LocalBackend
    slots: tuple[DeviceSlot, ...]


@contextmanager
def local_backend(ledger: Ledger) -> Iterator[LocalBackend]:
    """Hold a back end that trains on this machine for a workspace, for as long as the block runs."""
    files = job_files(ledger, ledger.workspace.store)
    with closing(LocalBackend(ForkServer.start(), files)) as backend:
        yield backend


@contextmanager
def computing(settings: RunSettings, notify: Notify, *, own: bool = True) -> Iterator[Compute]:
    """Own the workspace of a run and all that trials are trained with, for as long as the block runs.

    What the settings name is looked for first, so that no workspace is made for a mistyped name.

    Args:
        own: False for whoever only reads the workspace, which is then neither made nor locked.

    Raises:
        DataError: there is no such data set, or a table of tracks is broken.
        UsageError: the Keras back end cannot serve, or a protocol or a storage that was named.
        WorkspaceError: another process owns the workspace, or it cannot be written to.
        DeviceError: the GPU that was asked for is of no use.
    """
    check_backend()
    check_settings(settings, notify)
    ledger = Ledger(settings.stores.place)
    ledger.check_readable()
    with ledger.workspace.lock() if own else nullcontext(), local_backend(ledger) as backend:
        # Before the data: that a GPU cannot be used is not to be learnt after minutes. Without one, the server of the
        # children imports the framework while the data is read.
        slots = slots_for(settings.compute, settings.budget.vram_budget, backend, notify)
        yield Compute(ledger, backend, slots)


@dataclass(frozen=True)
class ProvenDevices:
    """The devices of studies that are tested one after another; each is proven once."""

    backend: LocalBackend
    notify: Notify
    _proven: dict[str, tuple[DeviceSlot, ...]] = field(default_factory=dict)

    def of(self, device: str, budget_bytes: int) -> tuple[DeviceSlot, ...]:
        """Return the device that a study asked for, for one trial at a time.

        Raises:
            DeviceError: it is of no use.
        """
        if device not in self._proven:
            compute = ComputeSettings(device=device, jobs=1)
            self._proven[device] = slots_for(compute, budget_bytes, self.backend, self.notify)
        return self._proven[device]


def slots_for(
    settings: ComputeSettings, budget_bytes: int, backend: LocalBackend, notify: Notify
) -> tuple[DeviceSlot, ...]:
    """Return a slot for the device of a run, or with more than one job for every visible GPU that is of use beside it.

    Where `--device auto` leads to a GPU on which the framework cannot compute, trials run on the CPU, and that is said.

    Raises:
        DeviceError: the GPU that was asked for by its number is not there, or the framework cannot compute on it.
    """
    device = resolve_device(settings.device, os.environ)
    for note in device.notes:
        notify(Note(note, warning=device.unexpected))
    slots = _proven(settings, device, budget_bytes, backend, notify) if device.uuid is not None else []
    if settings.jobs == "auto" and all(slot.source is ReadingSource.NONE for slot in slots):
        notify(Note("--jobs auto: one trial at a time, since there is no measured GPU memory to share out."))
    return tuple(slots) or (CPU_SLOT,)


def _proven(
    settings: ComputeSettings, device: Device, budget_bytes: int, backend: LocalBackend, notify: Notify
) -> list[DeviceSlot]:
    """Return the slots of the GPUs of a run on which the framework computes; none leads to the CPU, and says so.

    Raises:
        DeviceError: the GPU that was asked for by its number is of no use.
    """
    if settings.device != "auto":
        return [_open_slot(device, budget_bytes, backend, notify)]
    visible = sorted(visible_gpus(os.environ), key=lambda each: -(each.total_bytes or 0))
    slots: list[DeviceSlot] = []
    for each in visible if settings.jobs == 1 else worthwhile(tuple(visible)):
        try:
            slots.append(_open_slot(each, budget_bytes, backend, notify))
        except DeviceError as error:
            notify(Note(str(error), warning=True))
            continue
        if settings.jobs == 1:
            break
    if not slots:
        notify(Note("TRIALS RUN ON THE CPU. Pass --device gpu:0 to stop here instead.", warning=True))
    return slots


def _open_slot(device: Device, budget_bytes: int, backend: LocalBackend, notify: Notify) -> DeviceSlot:
    """Prove a GPU and let trials run on it; say what measures it, and where it has less free than the budget.

    Raises:
        DeviceError: the framework cannot compute there.
    """
    slot, choice = prove(device, backend.server)
    backend.add_slot(slot, choice.probe)
    notify(Note(choice.sentences[-1]))
    if slot.free_bytes is not None and slot.free_bytes < budget_bytes:
        budget, free = format_size(budget_bytes), format_size(slot.free_bytes)
        text = f"{device.name}: {budget} asked for, {free} there for a trial; that is its limit."
        notify(Note(text, warning=True))
    return slot


def worthwhile(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Leave out those with less than half of the largest one's memory: a card for a screen is no help to another."""
    largest = max((device.total_bytes or 0 for device in devices), default=0)
    return tuple(device for device in devices if 2 * (device.total_bytes or largest) >= largest)


def prove(device: Device, server: ForkServer) -> tuple[DeviceSlot, Choice]:
    """Return the slot of a GPU on which the framework was seen to compute, and what measures it.

    Raises:
        DeviceError: it cannot compute there; the message says why, and what to do.
    """
    assert device.uuid is not None
    choice = choose_probe(device, partial(self_test_child, server, device))
    slot = DeviceSlot(device, choice.probe.source, choice.overhead_bytes, choice.idle_bytes, exclusive=choice.exclusive)
    return slot, choice
