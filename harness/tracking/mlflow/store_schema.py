"""A store whose tables another version of MLflow made: which one, and what to do about it."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import mlflow

from harness.passwords import shown_address

_OTHER = re.compile(r"found version (?P<found>\w+), but expected \w+")
_MIGRATIONS = Path("store", "db_migrations", "versions")


def schema_complaint(tracking_uri: str, error: Exception) -> str | None:
    """Return what is wrong with the tables of a store that failed with `error`; None where they are not the reason."""
    other = _OTHER.search(str(error))
    if other is None:
        return None
    if any((Path(mlflow.__file__).parent / _MIGRATIONS).glob(f"{other['found']}_*.py")):
        upgrade = shlex.join([sys.executable, "-P", "-m", "mlflow", "db", "upgrade", shown_address(tracking_uri)])
        return (
            f"{tracking_uri}: an older MLflow made this store. Make a copy of it, then bring it up to date: {upgrade}"
        )
    return (
        f"a newer MLflow than the {mlflow.__version__} that is installed here made this store. Install that version, "
        "or deliver the results to another store: harness sync --tracking-uri URI"
    )
