"""Where the files of jobs lie that run on this machine."""

from __future__ import annotations

from pathlib import Path

from harness.tracking.ledger import Ledger
from harness.trials.local.backend import JobFiles


def job_files(ledger: Ledger, store: Path) -> JobFiles:
    """Return where the ledger keeps the models and logs of jobs on this machine.

    Args:
        store: the root folder of the feature store.
    """
    return JobFiles(
        store,
        model=lambda key: ledger.model_path(key.study, key.number),
        log=lambda key: ledger.log_path(key.study, str(key)),
    )
