"""What a study needs besides its record."""

from __future__ import annotations

from dataclasses import dataclass

from harness.families import Family
from harness.features.fold import Fold
from harness.records.study import StudyRecord
from harness.vram.slots import CPU_SLOT, DeviceSlot


@dataclass(frozen=True)
class StudyConfig:
    """How the trials of a study are to run.

    Attributes:
        family: what is searched; its space and baseline hold for this data.
        record: as it stands in the ledger.
        trials: total of trials; those that ended count, refused ones do not.
        folds: what each trial trains on, and validates on, in turn.
        min_micro_batch: floor of the micro-batch, in crops.
        jobs: trials at once; None for as many as predicted memory allows.
        threads: processor threads of one operation of a trial.
        time_limit_seconds: no trial starts once the study has run for so long in this run.
        trial_time_limit_seconds: training time of one trial.
        slots: the devices to run on.
    """

    family: Family
    record: StudyRecord
    trials: int
    folds: tuple[Fold, ...]
    min_micro_batch: int
    jobs: int | None
    threads: int
    deterministic: bool
    time_limit_seconds: float | None = None
    trial_time_limit_seconds: float | None = None
    slots: tuple[DeviceSlot, ...] = (CPU_SLOT,)
