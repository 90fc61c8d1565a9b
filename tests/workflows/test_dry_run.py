"""A dry run shows the plan of a run, and makes nothing."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from harness.events import Event, Note
from harness.families import select
from harness.search.space_sample import SpaceSample
from harness.settings import run_settings
from harness.units import MIB
from harness.vram.room import Room
from harness.workflows.dry_run import dry_run
from harness.workspace import Workspace
from tests.helpers.finals import make_bench
from tests.helpers.models import ToneStore


@pytest.mark.parametrize("known", [False, True])
def test_a_dry_run_makes_nothing(
    known: bool, tmp_path: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(tmp_path / "bench", tones, tone_store, monkeypatch)
    sample = SpaceSample((MIB, 2 * MIB), (60.0,), Room(MIB, MIB), "cpu")
    monkeypatch.setattr("harness.workflows.dry_run.sample_space", lambda *about: sample)
    workspace = bench.workspace if known else tmp_path / "new"
    if known:
        bench.run("group")
    settings = run_settings(
        {
            "data": tones,
            "groups": bench.groups,
            "protocol": "group",
            "epochs": 4,
            "quick": True,
            "workspace": workspace,
            "storage": f"sqlite:///{tmp_path / 'optuna.db'}",
            "tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
        }
    )
    events: list[Event] = []
    # Another run may own the workspace meanwhile.
    with Workspace(workspace).lock() if known else nullcontext():
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        dry_run(settings, select(["cnn2d-mfcc"]), events.append)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    plan = [event.text for event in events if isinstance(event, Note) and event.text.startswith("cnn2d-mfcc: ")]
    left = "0 of 3" if known else "3 of 3"
    assert f"{left} trials to run; footprints of 8 configurations 1 MiB to 2 MiB, 1 over" in plan[0]
    assert len(plan) == 2
