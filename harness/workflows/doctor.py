"""What `harness doctor` finds: whether trials compute on a GPU, within what memory, and how that is measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import numpy as np

from harness import keras_backend
from harness.caches import user_cache
from harness.datasets.signal import SAMPLE_RATE
from harness.errors import DeviceError, UnusableGpuError, first_line
from harness.features.extract import extract
from harness.records.trial import ReadingSource
from harness.search.memory_limits import room_of
from harness.settings import BudgetSettings, StoreSettings
from harness.trials.local.fork_server import ForkServer
from harness.units import format_size
from harness.vram import nvml
from harness.vram.device import Device, is_wsl, memory_used, resolve_device, visible_gpus
from harness.vram.slots import DeviceSlot

Answer = TypeVar("Answer")

OLDEST_CUDA = (12, 0)
"""Drivers that support less than this cannot run the CUDA libraries of TensorFlow 2.21; 525 is the first that does."""

TOO_OLD, OLD, TOO_NEW = (6, 0), (7, 0), (10, 0)
"""Compute capabilities: TensorFlow 2.21 has code from the first on and below the last, cuDNN 9.11 from the second."""


NEEDED = ("soundfile", "soxr", "python_stretch", "optuna", "mlflow", "matplotlib.pyplot")
"""What a run imports beside the framework, and beside what it extracts features with."""


class Status(StrEnum):
    """How a finding stands."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what was looked at, in a word or two.
        text: what was found.
        advice: what to do about it; empty where there is nothing to do.
    """

    topic: str
    status: Status
    text: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"\n{'':9}{'':13}-> {self.advice}" if self.advice else ""
        return f"{self.status:9}{self.topic:13}{self.text}{advice}"


def diagnose(choice: str) -> Iterator[Finding]:
    """Yield what is found, in the order in which a user needs it.

    Raises:
        UsageError: `choice` names no device, or the back end is not installed.
        DeviceError: the GPU that was asked for is not there.
    """
    variables, stores = keras_backend.overridden(os.environ), StoreSettings()
    device = resolve_device(choice, os.environ)
    yield _device(device)
    backend, versions = keras_backend.check_backend(), keras_backend.versions()
    trains = f"Keras {versions.get('keras')} on {backend} {versions.get(keras_backend.BACKENDS[backend], '')}"
    server = ForkServer.start()
    packages = _packages()  # while the server imports the framework
    server.check()
    if device.uuid is None:
        yield Finding("framework", Status.OK, f"{trains} computes on the CPU.")
        yield Finding(
            "measured",
            Status.NOTE,
            "GPU memory is not measured, because there is no GPU to measure: reports say 'not measured'. The "
            "budget is held against the predicted footprint instead.",
        )
    else:
        yield from _on_gpu(device, trains, server, choice)
    yield packages
    if variables:
        yield Finding(
            "variables",
            Status.NOTE,
            f"{', '.join(variables)}: set here, and set anew for trials, since the allocator's cap would not hold.",
        )
    told = f", and told to {_relative(stores.storage)}" if stores.storage is not None else ""
    yield Finding("storage", Status.OK, f"Studies are kept in {_relative(str(stores.place.results))}{told}.")
    yield Finding("tracking", Status.OK, f"MLflow keeps its runs in {_relative(stores.mlflow_uri)}.")


def _packages() -> Finding:
    """Return whether what a run needs beside the framework can be imported here, and its caches be written."""
    try:
        for name in NEEDED:
            import_module(name)
        extract(np.zeros(SAMPLE_RATE, np.float32))
    except Exception as error:
        text = f"What a run imports does not work here: {type(error).__name__}: {first_line(error)}"
        return Finding("packages", Status.PROBLEM, text, "No run gets past this; install the harness anew with pip.")
    return Finding("packages", Status.OK, f"What a run imports works; caches lie in {user_cache()}.")


def _device(device: Device) -> Finding:
    if device.uuid is None:
        status = Status.PROBLEM if device.unexpected else Status.OK
        advice = "See what `nvidia-smi` says." if device.unexpected else ""
        return Finding("device", status, " ".join(["Trials run on the CPU.", *device.notes]), advice)
    text = f"The NVIDIA driver, {device.driver}, shows {device.name} ({device.uuid}), memory {_size(device)}."
    return Finding("device", Status.NOTE if device.notes else Status.OK, text, " ".join(device.notes))


def _on_gpu(device: Device, trains: str, server: ForkServer, asked: str) -> Iterator[Finding]:
    from harness.workflows.devices import prove

    assert device.uuid is not None
    slot, measured = None, []
    try:
        slot, choice = prove(device, server)
    except UnusableGpuError as error:
        what = "trials run on the CPU" if asked == "auto" else "no trial runs"
        yield Finding("framework", Status.PROBLEM, f"{trains}: {error.what}, so {what}.", f"{error.advice}.")
    else:
        computes = f"{trains} computes on the GPU, so trials run there: a child trained a small network."
        yield Finding("framework", Status.OK, computes)
        measured = choice.sentences
    yield from _driver()
    yield from _card(device, works=slot is not None)
    yield from _memory(device, slot, BudgetSettings().vram_budget)
    if slot is not None:
        status = Status.NOTE if slot.source is ReadingSource.NONE else Status.OK
        yield from (Finding("measured", status, sentence) for sentence in measured)
    yield from _sharing(device)
    yield from _other_cards(device)


def _driver() -> Iterator[Finding]:
    version = _ask(nvml.cuda_version)
    if version is None:
        return
    text = f"The driver supports CUDA {version[0]}.{version[1]}."
    if version < OLDEST_CUDA:
        yield Finding("driver", Status.PROBLEM, text, "The framework needs CUDA 12: update the driver to 525 or later.")
    else:
        yield Finding("driver", Status.OK, text)


def _card(device: Device, works: bool) -> Iterator[Finding]:
    assert device.uuid is not None
    capability = _ask(nvml.compute_capability, device.uuid)
    if capability is None:
        return
    text = f"Compute capability {capability[0]}.{capability[1]}."
    if works or keras_backend.backend() != "tensorflow":
        yield Finding("card", Status.OK, text)
    elif capability >= TOO_NEW:
        advice = "TensorFlow 2.21 was not built for a card as new; KERAS_BACKEND=jax may run on it (not tried)."
        yield Finding("card", Status.PROBLEM, text, advice)
    elif capability < TOO_OLD:
        yield Finding("card", Status.PROBLEM, text, "TensorFlow 2.21 does not run on a card as old; pass --device cpu.")
    elif capability < OLD:
        advice = "cuDNN 9.11 and later do not run on it: pip install 'nvidia-cudnn-cu12==9.3.0.75'"
        yield Finding("card", Status.PROBLEM, text, advice)
    else:
        yield Finding("card", Status.OK, text)


def _memory(device: Device, slot: DeviceSlot | None, budget_bytes: int) -> Iterator[Finding]:
    assert device.uuid is not None
    if slot is None:
        used = memory_used(device)
        if used is not None and device.total_bytes is not None:
            yield Finding(
                "memory", Status.OK, f"{format_size(device.total_bytes)}, {format_size(used)} of it in use now."
            )
        return
    if device.total_bytes is None or slot.free_bytes is None:
        text = "The driver does not tell the memory of this GPU, which may be the machine's own."
        yield Finding("memory", Status.NOTE, text, "Set --vram-budget to what trials may take of it.")
    else:
        room = room_of(slot, budget_bytes, ())
        kept = device.total_bytes - slot.idle_bytes - slot.free_bytes
        text = (
            f"{format_size(device.total_bytes)}, of which {format_size(slot.idle_bytes)} are in use by others and "
            f"{format_size(kept)} stay free: {format_size(slot.free_bytes)} for a trial. Of "
            f"{format_size(room.total_bytes)} its framework's allocator may take {format_size(room.cap_bytes)}."
        )
        if slot.free_bytes < budget_bytes:
            yield Finding(
                "memory",
                Status.NOTE,
                text,
                f"The budget of {format_size(budget_bytes)}, the default, is more than there is; trials keep to what "
                "there is. Close what else draws on the card to have more.",
            )
        else:
            yield Finding("memory", Status.OK, text)
    if is_wsl():
        yield Finding(
            "WSL",
            Status.NOTE,
            "Windows shows no process's memory, and lends the card main memory where its own is full, slowly and "
            "without an error: the allocator's cap is the only guard.",
            "Keep 1 GiB of the card free, as trials do here, and close what else draws on it.",
        )


def _sharing(device: Device) -> Iterator[Finding]:
    assert device.uuid is not None
    if _ask(nvml.is_exclusive, device.uuid):
        yield Finding(
            "compute mode",
            Status.NOTE,
            "The GPU admits one process at a time, so trials run one after another.",
            f"To let trials share it: nvidia-smi -i {device.uuid} -c DEFAULT",
        )
    if _ask(nvml.accounting_is_on, device.uuid) and _ask(nvml.persistence_is_on, device.uuid) is False:
        yield Finding(
            "persistence",
            Status.NOTE,
            "Accounting is on, and will be off when the driver unloads, for persistence mode is off.",
            f"nvidia-smi -i {device.uuid} -pm 1",
        )


def _other_cards(device: Device) -> Iterator[Finding]:
    try:
        visible = visible_gpus(os.environ)
    except DeviceError:
        return
    if len(visible) < 2:
        return
    from harness.workflows.devices import worthwhile

    listed = "; ".join(f"gpu:{place} is {each.name}, {_size(each)}" for place, each in enumerate(visible))
    text = f"{listed}. They count by PCI bus, and auto takes the one with most memory"
    small = [each.name for each in visible if each not in worthwhile(visible)]
    more = f"; --jobs leaves out {', '.join(small)}, of less than half its memory" if small else ""
    order = (
        ""
        if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        else ("Other programs count the fastest card first, unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set.")
    )
    yield Finding("other cards", Status.NOTE, f"{text}{more}.", order)


def _size(device: Device) -> str:
    return "of unknown size" if device.total_bytes is None else format_size(device.total_bytes)


def _ask(question: Callable[..., Answer], *arguments: str) -> Answer | None:
    try:
        return question(*arguments)
    except nvml.NvmlError:
        return None


def _relative(url: str) -> str:
    return url.replace(f"{Path.cwd()}/", "")
