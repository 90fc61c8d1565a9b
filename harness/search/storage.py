"""Where Optuna keeps its studies."""

from __future__ import annotations

import optuna

from harness.errors import UsageError, first_line


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open Optuna's storage.

    Args:
        url: a database address such as `sqlite:///FILE`.

    Raises:
        UsageError: there is no such database, or it cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:
        raise UsageError(
            f"--storage {url}: cannot be opened ({first_line(error)}). Give a database address such as "
            "sqlite:///FILE, and check that its server runs."
        ) from error
