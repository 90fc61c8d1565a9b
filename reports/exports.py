"""Data files of a report: CSV, and JSON with nothing in it that depends on clocks or memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from harness.records.base import FORMAT
from harness.records.final import FinalsRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.scoring.metrics import confusion, per_genre
from harness.units import is_finite


def per_genre_csv(predictions: Predictions) -> str:
    """Return the per-genre scores as CSV with the header `genre,precision,recall,f1,support`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["genre", "precision", "recall", "f1", "support"])
    writer.writerows(per_genre(predictions))
    return text.getvalue()


def confusion_json(predictions: Predictions) -> str:
    """Return `{"genres": [...], "matrix": [[...]]}` as JSON; rows are the true genre, columns the predicted one."""
    return _json({"genres": list(predictions.genres), "matrix": confusion(predictions).tolist()})


def scores_json(studies: Sequence[StudyResults]) -> str:
    """Return what does not depend on clocks and memory as JSON: equal text from equal runs."""
    ordered = sorted(studies, key=lambda results: (results.study.family, results.study.name))
    return _json({"format": FORMAT, "studies": [_study_scores(results) for results in ordered]})


def _study_scores(results: StudyResults) -> dict[str, object]:
    study = results.study
    trials = sorted(results.trials, key=lambda trial: trial.number)
    return {
        "family": study.family,
        "study": study.name,
        "dataset": {"name": study.dataset.name, "fingerprint": study.dataset.fingerprint},
        "protocol": {"name": study.protocol.name, "fingerprint": study.protocol.fingerprint},
        "budget_bytes": study.budget_bytes,
        "epochs": study.epochs,
        "seed": study.seed,
        "quick": study.quick,
        "trials": [
            {
                "number": trial.number,
                "params": trial.params,
                "outcome": trial.outcome.value,
                "best_epoch": trial.best_epoch,
                "valid_accuracy": trial.scores.valid_accuracy if is_finite(trial.scores.valid_accuracy) else None,
                "valid_macro_f1": trial.scores.valid_macro_f1 if is_finite(trial.scores.valid_macro_f1) else None,
            }
            for trial in trials
        ],
        "references": [reference.model_dump(mode="json") for reference in results.references],
        "finals": _final_scores(results.finals) if results.finals else None,
    }


def _final_scores(finals: FinalsRecord) -> dict[str, object]:
    runs = sorted(finals.runs, key=lambda run: (run.role, run.seed, run.fold or 0))
    return {
        "tested": finals.tested,
        "opened_after_trials": [opening.trials for opening in finals.openings],
        "ensembles": [
            each.model_dump(mode="json", exclude={"peak_bytes", "inference_seconds"}) for each in finals.ensembles
        ],
        "runs": [
            {
                "role": run.role.value,
                "trial": run.trial,
                "seed": run.seed,
                "fold": run.fold,
                "outcome": run.outcome.value,
                "test_accuracy": run.test_accuracy if is_finite(run.test_accuracy) else None,
                "test_macro_f1": run.test_macro_f1 if is_finite(run.test_macro_f1) else None,
            }
            for run in runs
        ],
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
