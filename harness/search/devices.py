"""The devices that trials run on, each proven by a self-test before the first of them starts."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial

from harness.errors import DeviceError
from harness.records import Source
from harness.search.events import Note, Notify
from harness.settings import RunSettings
from harness.trials.pool import Pool
from harness.units import format_size
from harness.vram import nvml
from harness.vram.admission import CPU_LANE, Lane
from harness.vram.device import Device, resolve_device, visible_gpus
from harness.vram.probes import Choice, choose_probe


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
        _say_what_is_there(lane, settings, notify)
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
        _say_what_is_there(lane, settings, notify)
        if settings.jobs == 1:
            break
    if not lanes:
        notify(Note("TRIALS RUN ON THE CPU. Pass --device gpu:0 to stop here instead.", warning=True))
    return lanes


def _say_what_is_there(lane: Lane, settings: RunSettings, notify: Notify) -> None:
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
