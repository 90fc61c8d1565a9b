"""What a trial's child is told, and what it answers; picklable, and light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.features.fold import Fold
from harness.features.input_spec import InputView
from harness.records import EpochRecord, Outcome, Predictions
from harness.trials.symptoms import Cause

NO_GPU = "-1"
"""What `CUDA_VISIBLE_DEVICES` names where there is nothing to see."""


@dataclass(frozen=True)
class TrialSpec:
    """Everything that a child needs to train one configuration, once for each fold.

    Attributes:
        view: what the configuration sees of a track.
        store: the root folder of the feature store.
        genres: class names, in the order of the labels.
        folds: trained in turn; one, unless the protocol says otherwise.
        micro_batch: crops in one forward pass; `accumulation` of them make one update.
        budget_bytes: most GPU memory that the child may hold.
        cap_bytes: what the framework's allocator may take on the device; None for no cap.
        device_bytes: memory of the device; None where there is no GPU.
        time_limit_seconds: training time that the trial may take, all folds together; None for no limit.
        threads: processor threads of one operation.
        model: where to save the trained model, as `.keras`; with several folds, the last one's. None for nowhere.
        log: where the child's standard output and error go.
        environment: variables to set in the child, such as the device it may see.
    """

    family: str
    study: str
    number: int
    config: Mapping[str, Any]
    view: InputView
    store: Path
    genres: tuple[str, ...]
    folds: tuple[Fold, ...]
    epochs: int
    seed: int
    micro_batch: int
    accumulation: int
    budget_bytes: int
    cap_bytes: int | None
    device_bytes: int | None
    time_limit_seconds: float | None
    deterministic: bool
    threads: int
    model: Path | None
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpu(self) -> str | None:
        """The UUID of the GPU that the child is to compute on; None for the CPU."""
        visible = self.environment.get("CUDA_VISIBLE_DEVICES", NO_GPU)
        return None if visible == NO_GPU else visible

    @property
    def on_gpu(self) -> bool:
        """Whether the child is to compute on a GPU."""
        return self.gpu is not None


@dataclass(frozen=True)
class NoGpu:
    """The child was to compute on a GPU and cannot; it trains nothing."""

    cause: Cause


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended; the child waits for a bool: go on (True) or stop, as pruned (False)."""

    record: EpochRecord


@dataclass(frozen=True)
class FoldEnded:
    """A fold that is not the last ended; the child waits for a bool, as after an epoch."""

    predictions: Predictions


@dataclass(frozen=True)
class Ended:
    """The last message of a child: how it ended by its own account, and what it learnt.

    The child waits for an answer before it exits, so that its memory can be read one last time.
    """

    outcome: Outcome
    message: str = ""
    epochs: tuple[EpochRecord, ...] = ()
    best_epoch: int | None = None
    valid_accuracy: float | None = None
    valid_macro_f1: float | None = None
    train_accuracy: float | None = None
    parameters: int | None = None
    allocator_peak_bytes: int | None = None
    pool_bytes: int | None = None
    train_seconds: float | None = None
    projected_seconds: float | None = None
    predictions: Predictions | None = None
    test_predictions: Predictions | None = None
    track_seconds: float | None = None
