"""A study of a run, opened: described, held against the device that it goes on on, kept with its settings, set up."""

from __future__ import annotations

import os

from harness.errors import DeviceError
from harness.families import Family
from harness.features.fold import Fold
from harness.preparation import PreparedData
from harness.records.study import StudyRecord
from harness.search.config import StudyConfig
from harness.search.identity import study_record
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.vram.device import Device
from harness.vram.slots import CPU_SLOT, DeviceSlot
from harness.workflows.provenance import provenance


def describe_study(settings: RunSettings, family: Family, prepared: PreparedData, device: Device) -> StudyRecord:
    """Describe the study of a family, as it would be opened now."""
    dataset, protocol = prepared.dataset.record(), prepared.split.record()
    return study_record(family, dataset, protocol, provenance(device), settings.search, settings.budget.vram_budget)


def open_study(settings: RunSettings, study: StudyRecord, device: Device, ledger: Ledger) -> StudyRecord:
    """Open a study in the ledger, with the settings of this run, and return its record as it is stored.

    Raises:
        DeviceError: the study ran on a GPU and would go on on the CPU, or the other way round, without being told to.
        WorkspaceError: the workspace cannot be written to, or holds another study under this name.
    """
    record = record_device(ledger.open_study(study), device, settings.compute.device, ledger)
    ledger.write_settings(record.name, settings.portable())
    return record


def record_device(record: StudyRecord, device: Device, asked: str, ledger: Ledger) -> StudyRecord:
    """Return the record of a study that goes on on a device, which it names.

    Args:
        asked: the device that the user named, or auto.

    Raises:
        DeviceError: the study ran on a GPU and would go on on the CPU, or the other way round, without being told to.
    """
    last = record.provenance.device.rpartition(", then ")[2]
    if last == device.name:
        return record
    if asked == "auto" and CPU_SLOT.device.name in (last, device.name):
        choice = "cpu" if device.uuid is None else "gpu:0"
        raise DeviceError(
            f"{record.name}: its trials ran on {last}, and now there is {device.name}. See `harness doctor`; "
            f"or pass --device {choice} to go on there all the same, and the report names both."
        )
    return ledger.add_device(record, device.name)


def study_config(
    settings: RunSettings,
    family: Family,
    record: StudyRecord,
    folds: tuple[Fold, ...],
    slots: tuple[DeviceSlot, ...],
    share: float,
) -> StudyConfig:
    """Return how the trials of a study run.

    Args:
        record: as it stands in the ledger.
        slots: the devices to run on.
        share: of the run's time limit.
    """
    search = settings.search
    jobs = settings.compute.jobs if isinstance(settings.compute.jobs, int) else None
    return StudyConfig(
        family=family,
        record=record,
        trials=search.trials,
        folds=folds,
        min_micro_batch=settings.budget.min_micro_batch,
        jobs=jobs,
        threads=max(1, (os.cpu_count() or 1) // (jobs or len(slots))),
        deterministic=search.deterministic,
        time_limit_seconds=search.time_limit * share if search.time_limit else None,
        trial_time_limit_seconds=search.trial_time_limit,
        slots=slots,
    )
