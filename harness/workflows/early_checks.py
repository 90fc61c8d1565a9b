"""What can be said of the settings of a run before any audio is read, and before a workspace is made."""

from __future__ import annotations

from pathlib import Path

import requests
from requests.exceptions import SSLError

from harness.datasets.protocols import check_protocol
from harness.datasets.track_groups import read_groups
from harness.errors import UsageError, first_line
from harness.events import Note, Notify
from harness.features.embeddings.extractor import extractors
from harness.passwords import is_hidden, shown_address, without_passwords
from harness.paths import path_state
from harness.preparation import scan_dataset
from harness.search.storage import check_storage
from harness.settings import MUSICNN, RunSettings, StoreSettings, cache

_ANSWER_SECONDS = 5.0


def check_settings(settings: RunSettings, notify: Notify) -> None:
    """Make sure that what the settings name is there, and say so where MLflow's server is away. Makes nothing.

    Raises:
        DataError: there is no such data set, or the table of artists or of partitions is broken.
        UsageError: there is no such protocol or embedding, or Optuna's storage cannot be opened.
    """
    music, stores = settings.dataset, settings.stores
    if music.data is not None and path_state(music.data).kind != "folder":
        scan_dataset(music, notify)  # says why it cannot serve
    check_protocol(music.protocol)
    if music.groups is not None:
        read_groups(music.groups)
    if absent := [name for name in music.embedding if name != MUSICNN and not path_state(Path(name)).exists]:
        extractors(absent, cache())  # likewise
    for option, address in (("--storage", stores.storage), ("--tracking-uri", stores.tracking_uri)):
        if is_hidden(address):
            raise UsageError(f"{option} {address}: its password is hidden. Write it in the place of ***.")
    if stores.storage is not None:
        check_storage(stores.storage)
    _look_for_server(stores, notify)


def _look_for_server(stores: StoreSettings, notify: Notify) -> None:
    """Say where MLflow's server does not answer; the search goes on without it, and a later delivery brings all."""
    uri = stores.tracking_uri
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS)
    except requests.RequestException as error:
        silent = isinstance(error, requests.ConnectionError | requests.Timeout) and not isinstance(error, SSLError)
        why = "no answer" if silent else without_passwords(first_line(error), uri)
        notify(
            Note(
                f"{shown_address(uri)}: MLflow is away ({why}). Results are kept, and delivered once it answers, or "
                f"later with: {stores.place.sync_command(uri)}",
                warning=True,
            )
        )
