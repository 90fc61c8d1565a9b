"""A job that trains nothing: its report says what its process had taken until it might build its model, and built it.

Children of the fork server import this module, so it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.families import Family
    from harness.trials.job import TrainingSpec
    from harness.trials.local.child import ChildJob
    from harness.trials.report import TrialReport


def run_timed_job(job: ChildJob, connection: Connection) -> None:
    """Do all that a job's child does, with `build_only` in the place of the training."""
    from harness.trials.local.child import run_job
    from harness.trials.training import train

    train.train = build_only  # type: ignore[assignment]
    run_job(job, connection)


def build_only(spec: TrainingSpec, family: Family, *others: Any) -> TrialReport:
    """Build the model; the message of the report is JSON: the moment and the CPU seconds of this process before it,
    the CPU seconds of building, and the number of the server that forked it.
    """
    ready, moment = time.process_time(), time.time()
    from harness.models import ModelInputs
    from harness.records.trial import Outcome
    from harness.trials.report import TrialReport

    normalization = spec.folds[0].normalization[spec.input_spec]
    family.build(spec.config, ModelInputs(spec.input_spec.shape, len(spec.genres), *normalization))
    built = time.process_time()
    about = {"server": os.getppid(), "moment": moment, "ready": ready, "build": built - ready}
    return TrialReport(Outcome.COMPLETED, message=json.dumps(about))
