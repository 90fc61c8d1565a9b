"""Where the runs of an MLflow server are found in its web pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException

from harness.records.base import RunKind, RunLinks
from harness.tracking.mlflow.connection import connect, pages, search_runs, unreachable


def run_links(tracking_uri: str) -> RunLinks:
    """Return the web address of every run of a study, a trial or a final; empty where MLflow is no server on the web.

    A password in `tracking_uri` is left out of the addresses.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    address = urlsplit(tracking_uri)
    if address.scheme not in ("http", "https"):
        return {}
    server = address._replace(netloc=address.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
    client = connect(tracking_uri)
    links: dict[tuple[str, int | str | None], str] = {}
    try:
        experiments = [each.experiment_id for each in pages(lambda token: client.search_experiments(page_token=token))]
        for kind in RunKind:
            for run in search_runs(client, experiments, {"kind": kind}) if experiments else []:
                tags, info = run.data.tags, run.info
                what = {
                    RunKind.STUDY: None,
                    RunKind.TRIAL: int(tags.get("trial", -1)),
                    RunKind.FINAL: tags.get("final"),
                }[kind]
                # The first, as where records are read back.
                links.setdefault(
                    (tags["study"], what), f"{server}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
                )
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error
    return links
