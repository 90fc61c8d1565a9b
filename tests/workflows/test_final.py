"""The test set is opened on purpose: by whom, how often, and what is chosen without it. Nothing is trained here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.scan import scan
from harness.errors import DataError, UsageError, WorkspaceError
from harness.events import Note
from harness.features.embeddings import extractor
from harness.features.fold import Fold, LabelledTrack
from harness.features.store import FeatureStore
from harness.records.final import FinalRole
from harness.records.trial import Outcome
from harness.settings import cache
from harness.tracking.ledger import Ledger
from harness.trials.job import TrialSpec
from harness.trials.report import TrialReport
from harness.units import MIB
from harness.workflows.final_test import final_test
from harness.workspace import Workspace
from tests.helpers.finals import Bench, Children, make_bench
from tests.helpers.models import ToneStore


@pytest.fixture
def bench(tmp_path: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, tones, tone_store, monkeypatch)


def network_available(bench: Bench, folder: Path, name: str, size: int, weights: str = "weights") -> str:
    """A folder that passes for a SavedModel, whose embeddings of all tracks are in the store already."""
    (folder / name).mkdir(parents=True)
    (folder / name / "saved_model.pb").write_text(f"{name}: {weights}")
    fingerprint = extractor._fingerprint(folder / name)
    described = cache() / "embeddings" / f"{fingerprint}.json"
    described.parent.mkdir(parents=True, exist_ok=True)
    described.write_text(f'{{"size": {size}, "frames": 4}}')
    store = FeatureStore(bench.workspace / "store")
    for track in scan(bench.data, workers=1).tracks:
        store.put_embedding(fingerprint, track.digest, np.full((size, 4), len(track.id), np.float32))
    return str(folder / name)


def seen_in_test(specs: Sequence[TrialSpec]) -> set[str]:
    return {example.track for spec in specs for fold in spec.training.folds for example in fold.test}


def test_a_search_never_reads_test_tracks(bench: Bench) -> None:
    (results,) = bench.run("group")
    assert results.study.protocol.sizes["test"] == 4
    assert seen_in_test(Children.specs) == set()
    searched = {
        example.track for spec in Children.specs for fold in spec.training.folds for example in fold.train + fold.valid
    }
    assert len(searched) == 16
    bench.final(seeds=1)
    held_out = next(fold.test for spec in Children.specs for fold in spec.training.folds if fold.test)
    assert searched.isdisjoint(example.track for example in held_out)


def test_test_tracks_enter_the_store_when_the_test_is_opened(bench: Bench) -> None:
    shutil.rmtree(bench.workspace)
    bench.run("group")
    before = len(list((bench.workspace / "store").rglob("*.features.npy")))
    bench.final(seeds=1)
    assert (before, len(list((bench.workspace / "store").rglob("*.features.npy")))) == (16, 20)


def test_winner_and_baseline_are_tested_with_every_seed_once(bench: Bench) -> None:
    (searched,) = bench.run("group")
    count = len(Children.specs)
    results = bench.final()
    assert results.finals is not None
    assert searched.best is not None
    assert results.finals.tested == "test"
    assert [(run.role, run.trial, run.seed) for run in results.finals.runs] == [
        (FinalRole.WINNER, searched.best.number, 0),
        (FinalRole.BASELINE, 0, 0),
        (FinalRole.WINNER, searched.best.number, 1),
        (FinalRole.BASELINE, 0, 1),
    ]
    assert [run.test_accuracy for run in results.finals.runs] == [0.75, 0.5, 0.75, 0.5]
    assert len({spec.training.seed for spec in Children.specs[count:]}) == 2
    assert results.final_predictions["winner-0"].predicted.tolist() == [0, 1, 2, 0]
    assert {each.partition for each in results.references} == {"valid", "test"}

    bench.final()
    assert len(Children.specs) == count + 4
    bench.final(seeds=3)
    assert len(Children.specs) == count + 6


def test_after_more_trials_the_test_is_reopened_on_demand_only_and_counted(bench: Bench) -> None:
    bench.run("group")
    bench.final(seeds=1)
    bench.run("group", trials=6)
    count = len(Children.specs)
    with pytest.raises(UsageError, match=r"opened 1 times, and since then 2 trials(.|\n)*--reopen-test"):
        bench.final(seeds=1)
    assert len(Children.specs) == count
    assert bench.dashboards == [bench.workspace / "optuna.db"] * 2
    finals = bench.final(seeds=1, reopen=True).finals
    assert finals is not None
    assert [opening.trials for opening in finals.openings] == [4, 6]
    assert len(finals.runs) == 2


def test_a_run_goes_on_where_its_file_for_optuna_dashboard_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*about: object) -> None:
        raise WorkspaceError("optuna.db: cannot be written")

    monkeypatch.setattr("harness.workflows.dashboard.write_dashboard", full)
    (results,) = bench.run("group", trials=2)
    assert len(results.trials) == 2
    notes = [event.text for event in bench.events if isinstance(event, Note) and event.warning]
    assert "optuna-dashboard is not served: optuna.db: cannot be written" in notes


def test_another_study_on_the_same_test_set_is_no_first_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run("group")
    bench.final(seeds=1)
    times = iter(f"2999-01-01T00:00:{second:02}+00:00" for second in range(60))
    monkeypatch.setattr("harness.search.trial_record.utc_now", lambda: next(times))
    bench.run("group", epochs=5)
    count = len(Children.specs)
    bench.finals(seeds=1)  # what was opened before stays open, the other is left out
    assert len(Children.specs) == count
    assert any("--reopen-test" in event.text for event in bench.events if isinstance(event, Note))
    openings = [each.finals.openings for each in bench.finals(seeds=1, reopen=True) if each.finals]
    assert sorted(map(len, openings)) == [1, 2]


def test_a_training_that_failed_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run("group")
    failed = TrialReport(Outcome.HOST_OOM, "no memory")
    with monkeypatch.context() as broken:
        broken.setattr(Children, "end", lambda spec, report: failed)
        finals = bench.final(seeds=1).finals
    assert finals is not None
    assert [run.outcome for run in finals.runs] == [Outcome.HOST_OOM] * 2
    finals = bench.final(seeds=1).finals
    assert finals is not None
    assert [run.outcome for run in finals.runs] == [Outcome.COMPLETED] * 2


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.REFUSED])
def test_a_baseline_beyond_the_limits_is_not_tested(
    bench: Bench, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = TrialReport(outcome, "too much")
    monkeypatch.setattr(Children, "end", lambda spec, report: report if spec.key.number else beyond)
    bench.run("group")
    finals = bench.final(seeds=1).finals
    assert finals is not None
    assert {run.role for run in finals.runs} == {FinalRole.WINNER}


def test_a_workspace_that_moved_is_tested_where_it_lies(bench: Bench) -> None:
    bench.run("group")
    bench.workspace = bench.workspace.rename(bench.workspace.with_name("moved"))
    assert bench.final(seeds=1).finals is not None
    assert not bench.workspace.with_name("workspace").exists()


def test_music_that_moved_is_found_again_by_the_same_run(bench: Bench, tmp_path: Path) -> None:
    old = bench.data = shutil.copytree(bench.data, tmp_path / "tones")
    bench.run("group")
    trained = len(Children.specs)
    bench.data = old.rename(tmp_path / "moved")
    with pytest.raises(DataError) as failed:
        bench.final()
    assert str(failed.value).startswith(f"{old}: the search read it there, and it is there no more. Where it was moved")
    assert "give the same `harness run` once with --data NEW" in str(failed.value)
    bench.run("group")
    assert len(Children.specs) == trained
    assert bench.final(seeds=1).finals is not None


def test_a_time_limit_that_admits_no_trial_is_told_and_is_no_error(bench: Bench) -> None:
    (results,) = bench.run("group", time_limit=1e-9)
    assert results.trials == ()
    text = "cnn2d-mfcc: no trial started within 0.0 s. Raise --time-limit, which is shared out between the families."
    assert Note(text, warning=True) in bench.events
    assert not (bench.workspace / "report").exists()


def test_an_interrupted_opening_goes_on(bench: Bench) -> None:
    bench.run("group")
    count = len(Children.specs)
    Children.stop_at = count + 3
    with pytest.raises(KeyboardInterrupt):
        bench.final()
    finals = bench.final().finals
    assert finals is not None
    assert len(finals.openings) == 1
    assert len(finals.runs) == 4
    assert len(Children.specs) == count + 4


def test_without_a_test_set_every_outer_fold_is_tested_by_a_winner_chosen_without_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 2 knows all of the first fold and nothing else; trial 1 is good everywhere."""
    first: list[str] = []

    def skill(spec: TrialSpec, example: LabelledTrack) -> bool:
        if spec.keep_model and not first:
            first.extend(each.track for each in spec.training.folds[0].valid)
        return {0: False, 1: example.label < 2, 2: example.track in first}.get(spec.key.number, False)

    monkeypatch.setattr(Children, "skill", skill)
    bench.run("kfold:5", trials=3)
    count = len(Children.specs)
    results = bench.final(seeds=1)
    assert results.finals is not None
    assert results.finals.tested == "outer folds"
    winners = {run.fold: run.trial for run in results.finals.runs if run.role is FinalRole.WINNER}
    assert winners == dict.fromkeys(range(5), 1)
    folds: list[Fold] = [spec.training.folds[0] for spec in Children.specs[count:] if spec.key.number == 1]
    assert sorted(example.track for fold in folds for example in fold.test) == sorted(results.predictions[0].tracks)
    assert [(len(fold.train), len(fold.valid), len(fold.test)) for fold in folds] == [(12, 4, 4)] * 5


def test_without_folds_a_smaller_search_chooses_each_winner_without_the_tested_tracks(bench: Bench) -> None:
    bench.run("random", trials=8)
    count = len(Children.specs)
    results = bench.final(seeds=1)
    assert results.finals is not None
    smaller = [spec for spec in Children.specs[count:] if spec.keep_model]
    finals = [spec for spec in Children.specs[count:] if not spec.keep_model]
    assert (len(smaller), len(finals)) == (5 * 2, 5 * 2)
    assert not Children.open
    for fold in range(5):
        hidden = {example.track for example in finals[2 * fold].training.folds[0].test}
        for spec in smaller[2 * fold : 2 * fold + 2]:
            assert hidden.isdisjoint(
                example.track for example in spec.training.folds[0].train + spec.training.folds[0].valid
            )
    assert len(seen_in_test(finals)) == 20
    assert not results.finals.ensembles  # no stored predictions to choose members by


@pytest.mark.parametrize(("protocol", "tracks"), [("group", 4), ("kfold:5", 20)])
def test_an_ensemble_of_the_trials_is_tested_with_its_cost(bench: Bench, protocol: str, tracks: int) -> None:
    bench.run(protocol)
    results = bench.final(seeds=1)
    assert results.finals is not None
    (ensemble,) = results.finals.ensembles
    assert ensemble.tracks == tracks
    assert sum(ensemble.members.values()) == pytest.approx(1, abs=1e-3)
    assert (ensemble.peak_bytes, ensemble.inference_seconds) == (MIB, 0.01)


def test_other_audio_than_was_searched_on_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.data = shutil.copytree(bench.data, tmp_path / "copy")
    bench.run("random")
    shutil.copy(bench.data / "high" / "high.00001.wav", bench.data / "high" / "high.00000.wav")
    with pytest.raises(WorkspaceError, match="ran on other tracks"):
        bench.final()


def test_a_workspace_without_results_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="holds no results"):
        final_test(tmp_path / "none", [], 1, False, lambda event: None)
    assert not (tmp_path / "none").exists()


def test_results_without_a_completed_trial_are_said(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(UsageError, match="no completed trial"):
        final_test(tmp_path, [], 1, False, lambda event: None)


def test_a_configuration_is_trained_on_the_embedding_that_it_names(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = {"small": 3, "large": 5}
    named = tuple(network_available(bench, tmp_path / "networks", name, size) for name, size in sizes.items())
    bench.run("kfold:4")
    bench.run("kfold:4", trials=8, family="pretrained", embedding=named)
    study = next(study for study in Ledger(Workspace(bench.workspace)).studies() if study.family == "pretrained")
    assert study.input == "small: 3 rows x 4 frames (30.0 s); large: 5 rows x 4 frames (30.0 s)"
    embedded = {spec.training.config["embedding"] for spec in Children.specs if spec.training.family == "pretrained"}
    assert embedded == set(sizes)

    # The study without embeddings is tested beside the other, whatever that one needs.
    opened = bench.finals(seeds=1)
    assert [results.study.family for results in opened] == ["cnn2d-mfcc", "pretrained"]
    assert all(results.finals and len(results.finals.ensembles) == 2 for results in opened)
    for spec in Children.specs:
        if spec.training.family == "pretrained":
            assert spec.training.input_spec.name == spec.training.config["embedding"]
            assert spec.training.input_spec.shape == (sizes[spec.training.input_spec.name], 4, 1)
            assert all(
                fold.normalization[spec.training.input_spec][0].shape == (spec.training.input_spec.rows,)
                for fold in spec.training.folds
            )
        else:
            assert spec.training.input_spec.name == "mfcc"

    # A network whose weights changed is not the one that the study was embedded with.
    assert study.embeddings == {
        name: spec.training.input_spec.source
        for name in sizes
        for spec in Children.specs
        if spec.training.input_spec.name == name
    }
    retrained = network_available(bench, tmp_path / "retrained", "small", 3, weights="trained longer")
    shutil.rmtree(named[0])
    shutil.copytree(retrained, named[0])
    with pytest.raises(UsageError, match="small: not the network small that the study embedded tracks with"):
        bench.finals(families=["pretrained"])

    # Other weights under the same name make another study.
    (other,) = bench.run("kfold:4", family="pretrained", embedding=named)
    assert other.study.name != study.name
    with pytest.raises(UsageError, match="take no embeddings"):
        bench.run("kfold:4", embedding=named)
