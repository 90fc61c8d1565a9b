"""Passwords of stores stay with who gave them: a run leaves none in its workspace, and what needs one asks again."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import TrackingError
from harness.events import Note
from harness.settings import run_settings
from harness.tracking.ledger import Ledger
from harness.workflows import publish
from harness.workflows.sync import sync
from harness.workspace import Workspace
from tests.helpers.finals import Bench, make_bench
from tests.helpers.ledger import STUDY
from tests.helpers.models import ToneStore

STORAGE = "postgresql://me@azure:GEHEIM@box/db?sslpassword=GEHEIM"
TRACKING = "http://me:GEHEIM@127.0.0.1:1/?api_key=GEHEIM"
SHOWN = "http://me:***@127.0.0.1:1/?api_key=***"


def holding(folder: Path, secret: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_stored_settings_hold_addresses_without_passwords(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(STUDY)
    given = run_settings({"storage": STORAGE, "tracking_uri": TRACKING, "workspace": tmp_path})
    ledger.write_settings(STUDY.name, given.portable())
    assert holding(tmp_path, b"GEHEIM") == []
    stored = ledger.settings(STUDY.name).stores
    assert (stored.storage, stored.tracking_uri) == ("postgresql://me@azure:***@box/db?sslpassword=***", SHOWN)
    assert (given.stores.storage, given.stores.tracking_uri) == (STORAGE, TRACKING)


def test_stored_settings_without_passwords_are_those_that_were_given(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(STUDY)
    given = run_settings({"storage": "postgresql://me@box/db", "tracking_uri": "http://box:5000"}).portable()
    ledger.write_settings(STUDY.name, given)
    assert ledger.settings(STUDY.name) == given


def test_a_run_and_its_final_test_keep_no_password_and_ask_for_the_address_again(
    tmp_path: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench: Bench = make_bench(tmp_path, tones, tone_store, monkeypatch)
    monkeypatch.setattr("harness.workflows.final_test.deliver", publish.deliver)
    monkeypatch.setattr("harness.workflows.early_checks.check_storage", lambda url: None)
    (results,) = bench.run("group", storage=STORAGE, tracking_uri=TRACKING)
    final = bench.final(seeds=1)
    assert final.finals is not None
    assert bench.dashboards == []  # the storage shows it all
    assert (bench.workspace / "results" / results.study.name / "settings.json").exists()
    assert holding(bench.workspace, b"GEHEIM") == []
    notes = [event.text for event in bench.events if isinstance(event, Note) and event.warning]
    assert not any("GEHEIM" in text for text in notes)
    asked = f"{SHOWN}: its password is not kept. Give the address with it in the place of ***."
    command = f"harness sync --workspace {bench.workspace} --tracking-uri '{SHOWN}'"
    assert notes[-2:] == [
        f"{asked} Deliver it later with: {command}",
        f"the champion's card was not renewed: {asked} Later: {command}",
    ]
    with pytest.raises(TrackingError) as failed:
        sync(bench.workspace, SHOWN, bench.events.append)
    assert str(failed.value) == asked
