"""Saved views of an experiment's table of runs, and the addresses of its page in MLflow's UI.

By itself the UI opens on its pages for language models, and its table of runs has no scores. A view is what its menu
"Views" saves: a tag of the experiment, with the columns and their order as the UI names them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.tracking.mlflow.connection import connect, pages

FAMILIES, BEST_TRIALS = "families", "best-trials"

_TAG = "mlflow.sharedViewState."
_NAME = "attributes.`Run Name`"
_METRICS = ("valid_macro_f1", "valid_accuracy", "test_macro_f1", "vram_peak_bytes", "parameters", "train_seconds")


def experiment_tags() -> dict[str, str]:
    """Return the tags that give an experiment its views, by name."""
    shown = [*(f"metrics.`{key}`" for key in _METRICS), "tags.`outcome`"]
    layout = {
        "selectedColumns": shown,
        "columnOrder": [_NAME, *shown],
        "columnWidths": {_NAME: 330, **dict.fromkeys(shown, 125)},  # pixels; a run's name has to be read whole
    }
    best = {"searchFilter": "tags.kind = 'trial'", "orderByKey": "metrics.`valid_macro_f1`", "orderByAsc": False}
    return {
        # Only in order of creation does the UI nest trials in their study.
        f"{_TAG}{FAMILIES}": _view("Families", {**layout, "orderByKey": "attributes.start_time", "orderByAsc": False}),
        f"{_TAG}{BEST_TRIALS}": _view("Best trials", {**layout, **best}),
    }


def addresses(tracking_uri: str, server: str) -> dict[str, str]:
    """Return where the UI of `server` shows each experiment of a store that has runs to look at, by name.

    Raises:
        TrackingError: the store cannot be used.
    """
    client = connect(tracking_uri)
    found = pages(lambda token: client.search_experiments(order_by=["last_update_time DESC"], page_token=token))
    return {each.name: runs_page(server, each.experiment_id) for each in found if f"{_TAG}{FAMILIES}" in each.tags}


def runs_page(server: str, experiment: str, view: str = FAMILIES) -> str:
    """Return the address of an experiment's table of runs, under one of its views."""
    return f"{server}/#/experiments/{experiment}/runs?viewStateShareKey={view}&workflowType=machine_learning"


def _view(name: str, state: Mapping[str, Any]) -> str:
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(state)})
