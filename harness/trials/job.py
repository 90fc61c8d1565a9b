"""A job: one training, named by its key, and everything that a back end must know to carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.features.fold import Fold
from harness.features.input_spec import InputSpec
from harness.records.trial import BatchShape


class JobKind(StrEnum):
    """What a training is for."""

    TRIAL = "trial"
    WINNER = "winner"
    BASELINE = "baseline"


@dataclass(frozen=True)
class JobKey:
    """Names one training among all of a benchmark's, on every machine.

    Attributes:
        study: its name.
        kind: a trial of the study's search, or winner or baseline trained again to be tested (a final run).
        number: of the trial, or of the one whose configuration is trained again.
        attempt: how often the trial was tried before: a second attempt is a job of its own.
        seed: of a final run, from 0.
        fold: the outer fold that a final run is tested on; None for a test set, and for a trial.
    """

    study: str
    kind: JobKind
    number: int
    attempt: int = 0
    seed: int | None = None
    fold: int | None = None

    def __str__(self) -> str:
        """Name it within its study; all attempts at a trial share a name."""
        parts = [f"{self.kind}-{self.number:05d}"]
        parts += [f"seed-{self.seed}"] if self.seed is not None else []
        parts += [f"fold-{self.fold}"] if self.fold is not None else []
        return "-".join(parts)


@dataclass(frozen=True)
class TrainingSpec:
    """One configuration and the data that it is trained on, once for each fold.

    Attributes:
        family: its name.
        input_spec: what the configuration sees of a track.
        genres: class names, in the order of the labels.
        folds: trained in turn; one, unless the protocol says otherwise. They name tracks by their content, so that any
            store with these tracks serves.
        batch: how the sampled batch is cut into passes.
        threads: processor threads of one operation.
    """

    family: str
    config: Mapping[str, Any]
    input_spec: InputSpec
    genres: tuple[str, ...]
    folds: tuple[Fold, ...]
    epochs: int
    seed: int
    batch: BatchShape
    deterministic: bool
    threads: int


@dataclass(frozen=True)
class TrialLimits:
    """What a training may not pass.

    Attributes:
        budget_bytes: the most GPU memory that its processes may hold.
        cap_bytes: what the framework's allocator may take on the device; None for no cap.
        seconds: training time, all folds together; None for no limit.
    """

    budget_bytes: int
    cap_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class TrialSpec:
    """A job as a back end is given it. It holds no path: where files lie is the back end's business.

    Attributes:
        keep_model: whether the trained model is to be kept; with several folds, the last one's.
    """

    key: JobKey
    training: TrainingSpec
    limits: TrialLimits
    keep_model: bool = True
