"""Ensembles of trials that are trained already: chosen by validation predictions, scored on what is tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.evaluation.ensemble_predict import TIMED_TRACKS, Member, MemberPredictions, predict_members
from harness.evaluation.nested_cv import restricted
from harness.evaluation.study_under_test import StudyUnderTest
from harness.features.fold import LabelledTrack
from harness.records.final import EnsembleRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.scoring.ensemble import blend, select_members
from harness.scoring.metrics import joined, track_scores
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import FINALS, dump_record
from harness.trials.local.fork_server import ForkServer


class Candidate(NamedTuple):
    """A completed trial."""

    study: str
    family: str
    number: int

    def __str__(self) -> str:
        return f"{self.family} trial {self.number}"


class TestedTracks(NamedTuple):
    """The tracks that are tested.

    Attributes:
        examples: all of them.
        outer: the ids of each outer fold; empty where there is a test set.
    """

    examples: tuple[LabelledTrack, ...]
    outer: tuple[frozenset[str], ...]


Predict = Callable[[Sequence[Candidate], Sequence[LabelledTrack]], MemberPredictions]
"""Lets the saved models of trials predict tracks."""


@dataclass(frozen=True)
class _SavedModels:
    """The trained models of studies on one split, which predict in a child.

    Attributes:
        environment: variables that show the child its device.
    """

    studies: Sequence[StudyUnderTest]
    server: ForkServer
    ledger: Ledger
    environment: Mapping[str, str]

    def predict(self, candidates: Sequence[Candidate], tracks: Sequence[LabelledTrack]) -> MemberPredictions:
        """Return what the models of candidates predict, in their order.

        Raises:
            HarnessError: the child failed.
        """
        first = self.studies[0]
        members = list(map(self._member, candidates))
        genres, store = first.record.dataset.genres, first.prepared.store.root
        made = self.server.call(predict_members, members, store, tracks, genres, environment=self.environment)
        assert isinstance(made, MemberPredictions)
        return made

    def _member(self, candidate: Candidate) -> Member:
        study = next(study for study in self.studies if study.record.name == candidate.study)
        trial = next(trial for trial in study.results.trials if trial.number == candidate.number)
        return Member(
            study.family.input_spec_of(trial.params), self.ledger.model_path(candidate.study, candidate.number)
        )


def on_one_split(studies: Sequence[StudyUnderTest]) -> list[list[StudyUnderTest]]:
    """Return the studies in groups whose scores may be compared, in order."""
    groups: dict[tuple[object, ...], list[StudyUnderTest]] = defaultdict(list)
    for study in studies:
        groups[study.record.comparable_key].append(study)
    return list(groups.values())


def evaluate_ensembles(
    studies: Sequence[StudyUnderTest], ledger: Ledger, server: ForkServer, environment: Mapping[str, str]
) -> None:
    """Test the ensemble of each study, and that of all of them, and keep both with the study's finals.

    Args:
        studies: tested, and on one split.
        environment: variables that show a child the device to predict on.

    Raises:
        HarnessError: the members could not predict.
    """
    first = studies[0]
    if not first.has_test_set and not first.prepared.split.fold_of:
        return  # stored predictions are of the same few tracks, and some were trained on in every fold
    outer = [] if first.has_test_set else [frozenset(example.track for example in fold.test) for fold in first.folds]
    tested = TestedTracks(first.tested, tuple(outer))
    predict = _SavedModels(studies, server, ledger, environment).predict
    results = [ledger.results(study.record.name) for study in studies]
    names = " + ".join(dict.fromkeys(each.study.family for each in results))
    joint = ensemble(names, results, ledger, tested, predict) if len(studies) > 1 else None
    for each in results:
        _keep(ensemble(each.study.family, [each], ledger, tested, predict), joint, each, ledger)


def _keep(own: EnsembleRecord | None, joint: EnsembleRecord | None, results: StudyResults, ledger: Ledger) -> None:
    assert results.finals is not None
    # What was tested with other families in an earlier command still holds.
    earlier = [old for old in results.finals.ensembles if old.name != results.study.family]
    others = [joint] if joint is not None else earlier
    found = (*([own] if own is not None else []), *others)
    finals = results.finals.model_copy(update={"ensembles": found})
    ledger.write_study_files(results.study.name, {FINALS: dump_record(finals)})


def ensemble(
    name: str, studies: Sequence[StudyResults], ledger: Ledger, tested: TestedTracks, predict: Predict
) -> EnsembleRecord | None:
    """Choose an ensemble among the completed trials of `studies` and score it; None with fewer than two trials.

    Trials whose predictions or model are not here, as those that another workspace ran, are no candidates.

    With a test set, members are chosen by their validation predictions, and their saved models predict the test
    tracks. With outer folds, they are chosen anew for each fold without its tracks, by predictions that every trial
    made of tracks it had not seen; nothing is predicted again but for the cost.

    Args:
        name: for a reader.
        studies: on the same split.
    """
    candidates = {
        Candidate(results.study.name, results.study.family, trial.number): results.predictions[trial.number]
        for results in studies
        for trial in results.trials
        if trial.number in results.predictions and ledger.model_path(results.study.name, trial.number).exists()
    }
    if len(candidates) < 2:
        return None
    if tested.outer:
        weights, answer = _nested(candidates, tested.outer)
        cost = predict(list(weights), tested.examples[:TIMED_TRACKS])
    else:
        weights = select_members(candidates).weights
        cost = predict(list(weights), tested.examples)
        answer = blend(dict(zip(weights, cost.predictions, strict=True)), weights)
    accuracy, macro_f1 = track_scores(answer)
    return EnsembleRecord(
        name=name,
        members={str(candidate): round(share, 4) for candidate, share in weights.items()},
        tracks=len(answer.tracks),
        accuracy=accuracy,
        macro_f1=macro_f1,
        peak_bytes=cost.peak_bytes,
        inference_seconds=cost.inference_seconds,
    )


def _nested(
    candidates: Mapping[Candidate, Predictions], outer: Sequence[frozenset[str]]
) -> tuple[dict[Candidate, float], Predictions]:
    """Return the weights, averaged over outer folds, and the answers for each fold's tracks of those chosen without."""
    shares: dict[Candidate, float] = defaultdict(float)
    parts = []
    for fold in outer:
        others = {key: restricted(predictions, fold, keep=False) for key, predictions in candidates.items()}
        chosen = select_members(others).weights
        parts.append(blend({key: restricted(candidates[key], fold) for key in chosen}, chosen))
        for key, weight in chosen.items():
            shares[key] += weight / len(outer)
    return dict(shares), joined(parts)
