"""A connection to an MLflow store: opening it, listing what it holds, and the error when it is away."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from harness.addresses import check_tracking_uri, sqlite_file
from harness.errors import TrackingError, first_line
from harness.passwords import is_hidden, without_passwords
from harness.tracking.mlflow.relocation import follow_move
from harness.tracking.mlflow.store_schema import schema_complaint

_PAGE = 1000
_DAMAGED = re.compile("file is not a database|malformed|file is encrypted|disk I/O error", re.IGNORECASE)
"""What SQLite says of a file that is torn, or none of its own."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def connect(tracking_uri: str) -> MlflowClient:
    """Return a client of a store that answers. Artifacts of an SQLite store are where it is; see `follow_move`.

    Raises:
        UsageError: the address is of a form that MLflow cannot use.
        TrackingError: it does not answer, or its password was hidden.
    """
    check_tracking_uri(tracking_uri)
    if is_hidden(tracking_uri):
        raise TrackingError(f"{tracking_uri}: its password is not kept. Give the address with it in the place of ***.")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "ERROR"))
    try:
        with _opening(tracking_uri):
            if (database := sqlite_file(tracking_uri)) is not None:
                follow_move(database)
            client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
            client.search_experiments(max_results=1)
    except Exception as error:
        raise unreachable(tracking_uri, error) from error
    return client


def connect_existing(tracking_uri: str) -> MlflowClient:
    """Return a client of a store that answers, and make none where there is none.

    Raises:
        TrackingError: it does not answer, or is not there.
    """
    if is_missing(tracking_uri):
        raise TrackingError(
            f"{sqlite_file(tracking_uri)}: there is no MLflow store. Check --workspace or --tracking-uri."
        )
    return connect(tracking_uri)


def is_missing(tracking_uri: str) -> bool:
    """Whether the store is an SQLite file that is not there: to connect would make it."""
    database = sqlite_file(tracking_uri)
    return database is not None and not database.exists()


def pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield the items of all pages; `fetch` gets the token of the page that it shall return."""
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return


def search_runs(client: MlflowClient, experiments: Sequence[str], tags: Mapping[str, str]) -> list[Run]:
    """Return the runs that carry `tags`, the oldest first."""
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    order = ["attributes.start_time ASC"]
    return list(
        pages(
            lambda token: client.search_runs(
                list(experiments), condition, max_results=_PAGE, order_by=order, page_token=token
            )
        )
    )


def unreachable(tracking_uri: str, error: Exception) -> TrackingError:
    """Return what a user is told when the store failed with `error`."""
    why = f"the MLflow store cannot be used ({first_line(error)}). Check the address and that it is up."
    if sqlite_file(tracking_uri) is not None and _DAMAGED.search(str(error)):
        why = (
            f"the MLflow store is damaged ({first_line(error)}). Move it away: `harness sync` makes it again from a "
            "workspace's results."
        )
    text = f"{tracking_uri}: {schema_complaint(tracking_uri, error) or why}"
    return TrackingError(without_passwords(text, tracking_uri))


@contextmanager
def _opening(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open an SQLite store: two that create its tables at once crash each other."""
    database = sqlite_file(tracking_uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(database.with_name(f"{database.name}.lock").open("a"))
        except OSError:
            # Where one may not write, no tables are made either.
            if not database.exists():
                raise
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
