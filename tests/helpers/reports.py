"""Made-up studies for the tests of the report, and its headline table as a reader sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.records.final import EnsembleRecord, FinalRecord, FinalRole, FinalsRecord, OpeningRecord
from harness.records.predictions import Predictions
from harness.records.study import (
    DatasetRecord,
    ProtocolRecord,
    Provenance,
    Published,
    ReferenceRecord,
    StudyRecord,
    StudyResults,
)
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource, TimingRecord, TrialRecord
from harness.scoring.metrics import track_scores
from harness.units import GIB, MIB
from tests.helpers.records import grouped

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def make_predictions(accuracy: float, tracks: int = 200, genres: tuple[str, ...] = GENRES) -> Predictions:
    """The first share of the tracks is answered correctly, the others as a genre further on."""
    random = np.random.default_rng(7)
    labels = np.arange(tracks) % len(genres)
    wrong = random.permutation(tracks) >= round(accuracy * tracks)
    predicted = (labels + wrong * random.integers(1, len(genres), tracks)) % len(genres)
    probabilities = np.eye(len(genres), dtype=np.float32)[predicted]
    return Predictions(tuple(f"track{i:04}" for i in range(tracks)), genres, labels.astype(np.int64), probabilities)


def make_trial(number: int, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {"family": "cnn2d-fusion", "study": "cnn2d-fusion-1a2b3c4d", "number": number}
    fields |= {"outcome": outcome, "params": {"batch_size": 8, "learning_rate": 0.001 * (number + 1), "flatten": True}}
    if outcome is Outcome.COMPLETED:
        epoch = {
            "loss": 1.0,
            "accuracy": 0.6,
            "val_loss": 1.0,
            "val_accuracy": 0.6,
            "val_macro_f1": 0.6,
            "seconds": 1.0,
        }
        fields |= {"epochs": tuple(EpochRecord(epoch=index, **epoch) for index in range(20)), "best_epoch": 8}
        fields |= {"train_accuracy": 0.7, "micro_batch": 8, "accumulation": 2, "parameters": 1_234_567}
        fields |= {"train_seconds": 90.0, "inference_seconds": 0.042, "footprint_bytes": 3 * GIB}
        fields |= {"reading": Reading(peak_bytes=2 * GIB, source=ReadingSource.PROCESS)}
    return TrialRecord(**grouped(**(fields | changes)))


def make_results(
    accuracy: float | None = 0.61,
    *,
    tracks: int = 200,
    trials: tuple[TrialRecord, ...] | None = None,
    best: dict[str, Any] | None = None,
    **study: Any,
) -> StudyResults:
    """A study with a baseline, a pruned and a best trial; `accuracy=None` leaves no completed trial."""
    fields: dict[str, Any] = {
        "family": "cnn2d-fusion",
        "description": "Stacked features through a deep 2D network.",
        "input": "(187, 130, 1)",
        "space": "5e6f7a8b",
        "dataset": DatasetRecord(name="mymusic", fingerprint="d1", genres=GENRES, tracks=1000, synthetic=False),
        "protocol": make_protocol(),
        "budget_bytes": 8 * GIB,
        "epochs": 20,
        "seed": 0,
        "quick": False,
        "trial_time_limit_seconds": 300.0,
        "published": Published(accuracy=0.61, macro_f1=0.59, limitation="out of memory beyond batch 8"),
        "provenance": Provenance(
            commit="abc1234",
            versions={"keras": "3.15", "tensorflow": "2.21"},
            backend="tensorflow",
            device="NVIDIA H200",
            driver="550.1",
            platform="Linux",
            cpu_count=8,
        ),
    }
    fields |= study
    fields.setdefault("name", f"{fields['family']}-1a2b3c4d")
    names = {"family": fields["family"], "study": fields["name"]}
    predictions: dict[int, Predictions] = {}
    if trials is None and accuracy is None:
        trials = (make_trial(0, Outcome.OOM), make_trial(1, Outcome.TIMEOUT))
    elif trials is None:
        assert accuracy is not None
        predictions = {0: make_predictions(accuracy / 2, tracks), 2: make_predictions(accuracy, tracks)}
        first, last = track_scores(predictions[0]), track_scores(predictions[2])
        trials = (
            make_trial(0, valid_accuracy=first.accuracy, valid_macro_f1=first.macro_f1),
            make_trial(1, Outcome.PRUNED),
            make_trial(2, **({"valid_accuracy": last.accuracy, "valid_macro_f1": last.macro_f1} | (best or {}))),
        )
    named = tuple(trial.model_copy(update=names) for trial in trials)
    return StudyResults(StudyRecord(**fields), named, predictions)


def without_predictions(*studies: StudyResults) -> list[StudyResults]:
    """The same studies with nothing to draw, for tests that look at no picture."""
    return [replace(results, predictions={}) for results in studies]


def make_protocol(name: str = "group", **changes: Any) -> ProtocolRecord:
    sizes = {"train": 600, "valid": 200, "test": 190, "excluded": 10}
    return ProtocolRecord(**({"name": name, "fingerprint": f"p-{name}", "sizes": sizes, "grouped": True} | changes))


def four_families() -> list[StudyResults]:
    unmeasured = {"reading": Reading()}
    return [
        make_results(0.35, family="cnn2d-mfcc"),
        make_results(0.61),
        make_results(0.17, family="cnn1d-raw", best=unmeasured, published=None),
        make_results(None, family="cnn-transformer"),
    ]


def summary_rows(markdown: str) -> list[dict[str, str]]:
    """The rows of every summary table, as a reader sees them."""
    rows, header = [], None
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        header = cells if cells[:2] == ["Family", "Published¹"] else header if cells else None
        if header and cells and cells != header and not cells[0].startswith("---"):
            assert len(cells) == len(header)
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


def opened(
    results: StudyResults,
    winner: Sequence[float] = (0.6, 0.58, 0.62),
    baseline: Sequence[float] = (0.5, 0.5, 0.5),
    *,
    tracks: int = 190,
    folds: int = 0,
    trials: Sequence[int] = (2,),
    openings: Sequence[int] = (3,),
    **finals: Any,
) -> StudyResults:
    """The study after `harness final`.

    Args:
        winner: its accuracy with each seed, as near as the tracks allow.
        baseline: as `winner`.
        folds: outer folds; 0 for a test set.
        trials: the winner's trial, by outer fold if there are several.
        openings: how many trials there were at each.
    """
    runs: list[FinalRecord] = []
    predictions: dict[str, Predictions] = {}
    for role, accuracies in ((FinalRole.WINNER, winner), (FinalRole.BASELINE, baseline)):
        for seed, accuracy in enumerate(accuracies):
            whole = make_predictions(accuracy, tracks)
            for part in range(max(1, folds)):
                answers = part_of(whole, part, max(1, folds))
                scores = track_scores(answers)
                run = FinalRecord(
                    role=role,
                    trial=trials[part % len(trials)] if role is FinalRole.WINNER else 0,
                    seed=seed,
                    fold=part if folds else None,
                    outcome=Outcome.COMPLETED,
                    tracks=len(answers.tracks),
                    test_accuracy=scores.accuracy,
                    test_macro_f1=scores.macro_f1,
                    timing=TimingRecord(train_seconds=80.0),
                )
                runs.append(run)
                predictions[run.key] = answers
    record = FinalsRecord(
        tested="outer folds" if folds else "test",
        openings=tuple(OpeningRecord(trials=count, state=f"s{count}", opened="2026-01-01") for count in openings),
        runs=tuple(runs),
        **finals,
    )
    return replace(results, finals=record, final_predictions=predictions)


def failed(results: StudyResults, key: str, outcome: Outcome, message: str) -> StudyResults:
    """The same with one final run that did not complete."""
    assert results.finals is not None
    lost = {"outcome": outcome, "message": message, "test_accuracy": None, "test_macro_f1": None, "tracks": 0}
    runs = tuple(run.model_copy(update=lost) if run.key == key else run for run in results.finals.runs)
    kept = {name: answers for name, answers in results.final_predictions.items() if name != key}
    finals = results.finals.model_copy(update={"runs": runs})
    return replace(results, finals=finals, final_predictions=kept)


def part_of(predictions: Predictions, part: int, parts: int) -> Predictions:
    """Every so many tracks, from `part` on."""
    tracks, labels = predictions.tracks[part::parts], predictions.labels[part::parts]
    return Predictions(tracks, predictions.genres, labels, predictions.probabilities[part::parts])


def reference_pair(partition: str, tracks: int) -> tuple[ReferenceRecord, ...]:
    """Both classifiers without a network, as scored on a partition."""
    scores = {"majority class": (0.1, 0.02), "MFCC statistics + logistic regression": (0.4, 0.38)}
    return tuple(
        ReferenceRecord(name=name, partition=partition, tracks=tracks, accuracy=accuracy, macro_f1=macro_f1)
        for name, (accuracy, macro_f1) in scores.items()
    )


def ensemble(name: str, members: dict[str, float], **changes: Any) -> EnsembleRecord:
    fields: dict[str, Any] = {"tracks": 190, "accuracy": 0.65, "macro_f1": 0.64}
    fields |= {"peak_bytes": 310 * MIB, "inference_seconds": 0.0421}
    return EnsembleRecord(**({"name": name, "members": members} | fields | changes))


def measured(gib: float, source: ReadingSource = ReadingSource.PROCESS) -> Reading:
    return Reading(peak_bytes=int(gib * GIB), source=source)


def scored(number: int, gib: float | None, macro_f1: float, footprint: float | None = 3) -> TrialRecord:
    """A completed trial; `gib` None was not measured."""
    return make_trial(
        number,
        reading=Reading() if gib is None else measured(gib),
        footprint_bytes=None if footprint is None else int(footprint * GIB),
        valid_macro_f1=macro_f1,
        valid_accuracy=macro_f1 + 0.02,
    )
