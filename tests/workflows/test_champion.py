"""Which data set a champion's name belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.records.study import StudyRecord
from harness.workflows import champion
from tests.helpers.mlflow import STUDY, new_ledger, trial


def test_the_data_set_that_was_trained_first_has_the_name_whatever_studies_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was lost and one that saw the runs give the same address to the same data set."""
    ledger = new_ledger(tmp_path)

    def begun(name: str, fingerprint: str, started: str) -> StudyRecord:
        data = STUDY.dataset.model_copy(update={"fingerprint": fingerprint})
        study = ledger.open_study(STUDY.model_copy(update={"name": name, "dataset": data}))
        timing = trial(0).timing.model_copy(update={"started": started})
        ledger.write_trial(trial(0).model_copy(update={"study": name, "timing": timing}), None)
        return study

    later = begun("a-later", "second", "2025-01-02T10:00:00+00:00")
    first = begun("z-first", "first", "2025-01-01T10:00:00+00:00")
    again = begun("b-again", "first", "2025-01-03T10:00:00+00:00")
    assert champion.competing_studies(first, ledger) == [again, first]
    assert champion.competing_studies(later, ledger) == [later]

    registered: list[str] = []

    def register(uri: str, ledger: Any, best: tuple[StudyRecord, None], *about: Any) -> str:
        registered.append(best[0].dataset.fingerprint)
        return "models:/name@champion"

    class Best:
        def __init__(self, study: StudyRecord) -> None:
            self.study, self.dataset = study, study.dataset

    monkeypatch.setattr(champion, "best_model", lambda ledger, studies: (Best(studies[0]), None))
    monkeypatch.setattr(champion, "available", lambda *about: (None, {}))
    monkeypatch.setattr(champion, "_register", register)
    champion.register_all("sqlite:///mlflow.db", ledger, lambda event: None)
    assert registered == ["first", "second", "f"]  # the last is of a study that was opened, and has no trial
