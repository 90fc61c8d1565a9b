"""A workspace that was moved or copied shows its own artifacts, and writes to no other."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.errors import TrackingError
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.connection import connect
from harness.tracking.mlflow.delivery import sync
from harness.tracking.mlflow.logged_model import download_model
from harness.tracking.mlflow.relocation import follow_move, where_now
from harness.workspace import Workspace
from tests.helpers.mlflow import PREDICTIONS, STUDY, deliver, files_of, runs_of, trial


@pytest.fixture(params=["plain", "100 %41 of it? #1 [a]* Музыка"])
def delivered(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A workspace of any name, with a model beside its runs."""
    folder = tmp_path / request.param
    folder.mkdir()
    (model := folder / "artifacts" / "models" / "m-1" / "artifacts").mkdir(parents=True)
    (model / "MLmodel").write_text("a model")
    return deliver(folder)


def sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_moved_workspace_shows_its_artifacts_and_gets_the_next(delivered: Path, tmp_path: Path) -> None:
    moved = delivered.rename(tmp_path / "moved")
    place = Workspace(moved)
    connect(place.mlflow_url)
    assert all("confusion_matrix.png" in files_of(place.mlflow_url, run) for run in completed(place.mlflow_url))
    ledger = Ledger(place)
    ledger.write_trial(trial(3), PREDICTIONS)
    assert sync(ledger, place.mlflow_url, artifact_root=place.artifacts).refused == ()
    assert not delivered.exists()
    (new,) = (run for run in completed(place.mlflow_url) if run.data.tags["trial"] == "3")
    assert new.info.artifact_uri.startswith(place.artifacts.as_uri())
    assert (place.artifacts / new.info.run_id / "artifacts" / "trial.json").exists()


def test_a_copy_writes_to_itself_alone(delivered: Path, tmp_path: Path) -> None:
    copy = Workspace(shutil.copytree(delivered, tmp_path / "copy"))
    before = sizes(delivered)
    ledger = Ledger(copy)
    ledger.write_trial(trial(3), PREDICTIONS)
    assert sync(ledger, copy.mlflow_url, artifact_root=copy.artifacts).refused == ()
    assert sizes(delivered) == before
    assert len(list(copy.artifacts.rglob("trial.json"))) == len(list(delivered.rglob("trial.json"))) + 1
    addresses = {run.info.artifact_uri for run in runs_of(copy.mlflow_url, "trial")}
    assert all(address.startswith(copy.artifacts.as_uri()) for address in addresses)


def test_a_model_is_found_where_it_lies_now_whatever_the_store_says(delivered: Path, tmp_path: Path) -> None:
    moved = Workspace(delivered.rename(tmp_path / "moved #2 %20"))
    old = (delivered / "artifacts" / "models" / "m-1" / "artifacts").as_uri()
    assert where_now(old, moved.mlflow_file) == (moved.artifacts / "models" / "m-1" / "artifacts").as_uri()
    for address in ("s3://bucket/artifacts/m-1", old.replace("m-1", "m-2"), "file:///elsewhere/m-1"):
        assert where_now(address, moved.mlflow_file) == address
    assert Path(download_model(moved.mlflow_url, old, tmp_path / "fetched"), "MLmodel").read_text() == "a model"


def test_artifacts_that_lie_elsewhere_on_purpose_stay_there(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    place = Workspace(deliver(tmp_path / "ours"))
    (elsewhere := tmp_path / "store").mkdir()
    shutil.copy(place.mlflow_file, elsewhere / "mlflow.db")
    (elsewhere / "artifacts" / "of another program").mkdir(parents=True)
    follow_move(elsewhere / "mlflow.db")
    addresses = {run.info.artifact_uri for run in runs_of(f"sqlite:///{elsewhere}/mlflow.db", "trial")}
    assert all(address.startswith(place.artifacts.as_uri()) for address in addresses)


def test_what_is_no_store_is_left_to_mlflow(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    follow_move(tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()
    sqlite3.connect(tmp_path / "mlflow.db").close()
    follow_move(tmp_path / "mlflow.db")
    (tmp_path / "mlflow.db").write_text("no database, and longer than the header of one" * 10)
    with pytest.raises(TrackingError, match=r"the MLflow store is damaged \(file is not a database\)"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")


def completed(uri: str) -> list:
    return [run for run in runs_of(uri, "trial") if run.data.tags["outcome"] == "completed"]


def test_the_registry_follows_too(delivered: Path, tmp_path: Path) -> None:
    place = Workspace(delivered)
    client = MlflowClient(place.mlflow_url)
    client.create_registered_model("demo")
    source = (place.artifacts / "models" / "m-1" / "artifacts").as_uri()
    client.create_model_version("demo", source)
    moved = Workspace(delivered.rename(tmp_path / "moved #2 %20"))
    connect(moved.mlflow_url)
    found = download_model(moved.mlflow_url, "models:/demo/1", tmp_path / "fetched")
    assert Path(found, "MLmodel").read_text() == "a model"
    with sqlite3.connect(moved.mlflow_file) as database:
        assert database.execute("SELECT source FROM model_versions").fetchone() == (
            source.replace(place.artifacts.as_uri(), moved.artifacts.as_uri()),
        )
    assert STUDY.name in {study.name for study in Ledger(moved).studies()}


def test_a_copy_without_artifacts_keeps_its_own_too(delivered: Path, tmp_path: Path) -> None:
    copy = Workspace(shutil.copytree(delivered, tmp_path / "copy", ignore=shutil.ignore_patterns("artifacts")))
    before = sizes(delivered)
    ledger = Ledger(copy)
    ledger.write_trial(trial(3), PREDICTIONS)
    assert sync(ledger, copy.mlflow_url, artifact_root=copy.artifacts).refused == ()
    assert sizes(delivered) == before
    assert [path.parts[-3] for path in copy.artifacts.rglob("trial.json")] == [
        run.info.run_id for run in completed(copy.mlflow_url) if run.data.tags["trial"] == "3"
    ]


READ = """
import sys
from pathlib import Path
from harness.tracking.mlflow.connection import connect
from harness.tracking.mlflow.logged_model import download_model
client = connect(sys.argv[1])
client.search_experiments()
print(Path(download_model(sys.argv[1], sys.argv[2], Path(sys.argv[3])), "MLmodel").read_text())
"""


def test_a_store_where_nobody_may_write_is_read(delivered: Path, tmp_path: Path) -> None:
    model = (delivered / "artifacts" / "models" / "m-1" / "artifacts").as_uri()
    moved = delivered.rename(tmp_path / "moved")
    for path in (moved, *moved.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    # Root may write all the same, unless it gives that up.
    dropped = "-dac_override,-dac_read_search"
    without = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*without, sys.executable, "-c", READ, Workspace(moved).mlflow_url, model, str(tmp_path / "fetched")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "a model\n"), done.stderr


def test_a_damaged_store_says_what_to_do(delivered: Path) -> None:
    place = Workspace(delivered)
    place.mlflow_file.write_bytes(place.mlflow_file.read_bytes()[:300_000])
    with pytest.raises(TrackingError, match=r"damaged \(.*\)\. Move it away: `harness sync` makes it again"):
        sync(Ledger(place), place.mlflow_url, artifact_root=place.artifacts)
