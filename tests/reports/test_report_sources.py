"""One report, wherever its records are read from: a workspace, an MLflow store, or a server, which adds links."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from harness.errors import WorkspaceError
from harness.records.trial import Outcome
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.delivery import sync
from harness.tracking.mlflow.links import run_links
from harness.tracking.mlflow.points import trial_points
from harness.tracking.mlflow.reading import read_studies
from harness.tracking.serialization import IMPORTANCE, dump_importance
from harness.workspace import Workspace
from reports.document import build_report
from reports.write import write_page
from tests.helpers.command import command
from tests.helpers.mlflow import (
    BASELINE,
    PREDICTIONS,
    STUDY,
    WINNER,
    keep_finals,
    new_ledger,
    new_store,
    runs_of,
    trial,
)
from tests.helpers.records import changed

SHARES = {"rate": 0.75, "layers": 0.25}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A workspace with a searched and tested study."""
    ledger = new_ledger(tmp_path)
    for number, outcome in enumerate((Outcome.COMPLETED, Outcome.OOM, Outcome.COMPLETED)):
        ledger.write_trial(trial(number, outcome), PREDICTIONS if outcome is Outcome.COMPLETED else None)
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance(SHARES)})
    keep_finals(ledger, WINNER, BASELINE)
    return ledger


@pytest.fixture
def uri(ledger: Ledger, tmp_path: Path) -> str:
    """The MLflow store of the workspace, with all of it delivered."""
    uri = new_store(tmp_path)
    assert sync(ledger, uri, artifact_root=Workspace(tmp_path).artifacts).refused == ()
    return uri


def test_a_workspace_and_mlflow_give_the_same_report(ledger: Ledger, uri: str, tmp_path: Path) -> None:
    ours, theirs = (ledger.results(STUDY.name),), read_studies(uri)
    assert [study.importance for study in (*ours, *theirs)] == [SHARES, SHARES]
    made = build_report(ours)
    assert "rate 75.0 %, layers 25.0 %" in made.markdown
    assert build_report(theirs) == made
    pages = [write_page(studies, tmp_path / "page.html").read_bytes() for studies in (ours, theirs)]
    assert pages[0] == pages[1]


def test_what_the_allocator_took_is_a_metric_where_it_is_known() -> None:
    metrics = {name: value for name, _, value in trial_points(trial(0))}
    known = changed(trial(0), allocator_peak_bytes=2**30, pool_bytes=2**31)
    assert {name: value for name, _, value in trial_points(known)} == {
        **metrics,
        **{"allocator_peak_bytes": 2**30, "pool_bytes": 2**31},
    }
    assert not {"allocator_peak_bytes", "pool_bytes"} & metrics.keys()


def test_a_study_without_importance_has_none(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path)
    assert ledger.results(STUDY.name).importance == {}
    ledger.write_study_files(STUDY.name, {IMPORTANCE: b'{"format": 2, "importance": {"rate": "much"}}'})
    with pytest.raises(WorkspaceError, match=r"importance\.json: not a result that this version can read"):
        ledger.results(STUDY.name)


def test_the_command_writes_the_page_alone(ledger: Ledger, tmp_path: Path) -> None:
    page = tmp_path / "site" / "index.html"
    order = command("report", "--workspace", tmp_path, "--html", page)
    done = subprocess.run(order, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{page}\n"), done.stderr
    expected = write_page((ledger.results(STUDY.name),), tmp_path / "expected.html")
    assert page.read_bytes() == expected.read_bytes()
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("option", ["--html", "--output"])
def test_a_report_without_a_name_is_wrong_usage(ledger: Ledger, tmp_path: Path, option: str) -> None:
    done = subprocess.run(command("report", "--workspace", tmp_path, option, ""), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {option} .: a folder. Name a file, which may be in it.\n"


def test_a_store_that_is_no_server_gives_no_links(uri: str) -> None:
    assert run_links(uri) == {}


@pytest.mark.slow
def test_a_server_gives_the_same_report_with_a_link_to_each_run(
    delivered: Path, ui: dict[str, str], tmp_path: Path
) -> None:
    """Starts a server."""
    server, workspace = ui["MLflow UI"], Workspace(delivered)
    ledger = Ledger(workspace)
    studies, links = read_studies(server), run_links(server.replace("//", "//user:secret@"))
    assert build_report(studies) == build_report([ledger.results(study.name) for study in ledger.studies()])
    page = write_page(studies, tmp_path / "page.html", links).read_text(encoding="utf-8")
    ids = [run.info.run_id for kind in ("study", "trial", "final") for run in runs_of(workspace.mlflow_url, kind)]
    assert len(ids) == 8
    linked = re.findall(rf'href="{server}/#/experiments/\d+/runs/(\w+)"', page)
    assert sorted(linked) == sorted(ids)
    assert "secret" not in page
