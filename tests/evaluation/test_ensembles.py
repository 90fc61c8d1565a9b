"""Who may be a member of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.evaluation import ensembles
from harness.evaluation.ensemble_predict import MemberPredictions
from harness.features.fold import LabelledTrack
from harness.files import write_atomically
from harness.records.trial import Outcome, TrialRecord
from harness.testing.records import FAMILY, PREDICTIONS, RECORD, TRACKS
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace


@pytest.mark.parametrize("lacks", ["predictions", "model"])
def test_trials_without_predictions_or_a_model_are_no_candidates(tmp_path: Path, lacks: str) -> None:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(RECORD)
    for number in range(3):
        trial = TrialRecord(
            family=RECORD.family, study=RECORD.name, number=number, outcome=Outcome.COMPLETED, params=FAMILY.baseline
        )
        is_whole = number > 0
        ledger.write_trial(trial, PREDICTIONS if is_whole or lacks != "predictions" else None)
        if is_whole or lacks != "model":
            write_atomically(ledger.model_path(RECORD.name, number), b"")

    def predict(candidates: Sequence[ensembles.Candidate], tracks: Sequence[LabelledTrack]) -> MemberPredictions:
        assert {candidate.number for candidate in candidates} <= {1, 2}
        return MemberPredictions([PREDICTIONS] * len(candidates), None, 0.5)

    tested = ensembles.TestedTracks(TRACKS, ())
    made = ensembles.ensemble("made-up", [ledger.results(RECORD.name)], ledger, tested, predict)
    assert made is not None
    assert made.tracks == len(TRACKS)
