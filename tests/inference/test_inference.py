"""A model to use: which one answers, what is told of it, and the same answer in every way to ask."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests

from harness.datasets.decode import open_blocks
from harness.datasets.signal import FULL_SCALE, SAMPLE_RATE, quantised
from harness.errors import DataError, HarnessError, ModelError, TrackingError, UsageError
from harness.events import Note
from harness.features.crops import crop, crop_starts
from harness.features.embeddings import yamnet
from harness.features.embeddings.extractor import NETWORK_RATE, extractors
from harness.features.extract import extract
from harness.features.input_spec import MFCC_INPUT, WAVEFORM_INPUT, InputSpec
from harness.inference import resolve
from harness.inference.bundle import export, write_bundle
from harness.inference.card import facts, introduction, model_card
from harness.inference.pipeline import BATCH, Classifier, TrackPrediction, crop_spans
from harness.inference.text import line, timeline
from harness.processes import kill_group, redirected
from harness.records.base import FORMAT
from harness.records.study import DatasetRecord, StudyResults
from harness.records.trial import Outcome, TrialRecord
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.connection import connect
from harness.tracking.mlflow.delivery import sync
from harness.tracking.mlflow.registry import CHAMPION, champion_name, describe_champion
from harness.tracking.mlflow.runs import find_trial
from harness.units import MIB
from harness.workspace import Workspace
from tests.helpers.audio import RATE, noise, write_audio
from tests.helpers.command import ROOT, Benchmark, Done, command
from tests.helpers.finals import Bench, make_bench
from tests.helpers.mlflow import new_store
from tests.helpers.models import ToneStore
from tests.helpers.networks import export_network
from tests.helpers.reports import failed, make_protocol, make_results, opened

README = ROOT / "README.md"
SYNTHETIC = DatasetRecord(name="demo", fingerprint="d2", genres=("blues",), tracks=10, synthetic=True)


def harness(*arguments: object) -> Done:
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def keep(ledger: Ledger, *studies: StudyResults) -> None:
    """Store studies, with a file in the place of each trained model."""
    for results in studies:
        ledger.open_study(results.study)
        for trial in results.trials:
            ledger.write_trial(trial, results.predictions.get(trial.number))
            if trial.completed:
                ledger.model_path(trial.study, trial.number).write_bytes(b"weights")


def chosen(ledger: Ledger) -> tuple[str, int] | None:
    best = resolve.best_model(ledger, ledger.studies())
    return best and (best[0].study.name, best[1].number)


def test_the_best_trial_answers_whose_model_is_there(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    assert chosen(ledger) is None
    keep(ledger, make_results(0.9, name="quick", quick=True), make_results(None, name="failed"))
    assert chosen(ledger) == ("quick", 2)
    keep(ledger, make_results(0.95, name="demo", dataset=SYNTHETIC))
    assert chosen(ledger) == ("quick", 2)
    keep(ledger, make_results(0.4, name="weak"), make_results(0.6, name="strong", family="cnn2d-mfcc"))
    assert chosen(ledger) == ("strong", 2)
    ledger.model_path("strong", 2).unlink()
    assert chosen(ledger) == ("weak", 2)


def test_a_line_says_which_model_answers_and_whether_to_rely_on_it() -> None:
    results = make_results(0.6, tracks=50)
    assert introduction(facts(results, results.trials[2])) == (
        "model: cnn2d-fusion, trial 2 of cnn2d-fusion-1a2b3c4d: validation macro F1 0.58, accuracy 60.0 % "
        "(50 tracks of mymusic, protocol group)"
    )
    results = make_results(0.6, quick=True, dataset=SYNTHETIC)
    (_, note) = introduction(facts(results, results.trials[2])).splitlines()
    assert note.startswith("note: trained by a --quick study (small space, few epochs) on synthetic music: good for")


def test_the_card_tells_scores_with_their_doubt_and_limits() -> None:
    results = make_results(0.6, tracks=50, protocol=make_protocol("kfold:5", folds=5, warning="no artists"))
    card = model_card(results, results.trials[2], MFCC_INPUT)
    assert "# cnn2d-fusion, trained on mymusic" in card
    assert "600 train, 200 validate, 190 test, 10 are left out" in card
    assert "the last of 5 folds" in card
    assert "no artists" in card
    assert "On 50 validation tracks: accuracy 60.0 % (46–73 % at 95 %), macro F1 0.58 (" in card
    assert "one of 2 completed" in card
    assert "Nothing was tested" in card
    assert "| rock |" in card
    assert "synthetic" not in card
    assert "| learning_rate | 0.003 |" in card


def test_the_card_tells_of_a_test_of_this_configuration_only() -> None:
    results = opened(make_results(0.6), winner=(0.5, 0.5, 0.5), tracks=190)
    tested = "with 3 fresh seeds, was tested on 190 tracks that its search never saw: accuracy 50.0 % (42–58 %"
    assert tested in model_card(results, results.trials[2], MFCC_INPUT)
    for number in (0, 2):  # winner and baseline
        assert "The same configuration, trained again" in model_card(results, results.trials[number], MFCC_INPUT)
    other = opened(make_results(0.6), trials=(1,))
    card = model_card(other, other.trials[2], MFCC_INPUT)
    assert "This configuration was not tested: `harness final` tested trial 0 and trial 1" in card
    assert "trained again" not in card
    looked_twice = opened(make_results(0.6), openings=(2, 3))
    assert "The test set was evaluated on 2 times" in model_card(looked_twice, results.trials[2], MFCC_INPUT)


@pytest.mark.parametrize("winners", [(2,), (2, 0)], ids=["one winner", "two winners"])
def test_outer_folds_test_a_search_and_no_configuration(winners: tuple[int, ...]) -> None:
    """A smaller search counts its trials from 0, too: an equal number is no equal configuration."""
    random = make_protocol("random", sizes={"train": 152, "valid": 38})
    results = opened(make_results(0.6, protocol=random), folds=5, trials=winners)
    card = model_card(results, results.trials[2], MFCC_INPUT)
    assert "Its search was tested on 190 tracks in outer folds, each with the winner that was chosen without it" in card
    assert "The same configuration" not in card
    assert "Nothing was tested" not in card
    unfinished = failed(results, "winner-0-1", Outcome.CRASHED, "cut off")
    for seed in (1, 2):
        unfinished = failed(unfinished, f"winner-{seed}-1", Outcome.CRASHED, "cut off")
    assert "no seed was scored on all of it" in model_card(unfinished, results.trials[2], MFCC_INPUT)


def test_the_card_says_how_much_it_could_know() -> None:
    results = make_results(0.6)
    early = model_card(results, results.trials[2], MFCC_INPUT)
    assert "was written when its study had 3 trials and nothing was tested yet." in early
    late = model_card(opened(results, openings=(2, 3)), results.trials[2], MFCC_INPUT)
    assert "had 3 trials and had been tested, last after 3." in late


@pytest.fixture
def bench(tmp_path: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, tones, tone_store, monkeypatch)


def test_final_renews_the_card_where_the_champion_is_registered(bench: Bench) -> None:
    (results,) = bench.run("group")
    assert results.best is not None
    uri = new_store(bench.workspace)
    assert sync(Ledger(Workspace(bench.workspace)), uri, artifact_root=bench.workspace / "artifacts").refused == ()
    client = connect(uri)
    name = champion_name(client, results.study)
    run = find_trial(client, results.study, results.best.number)
    assert run is not None
    client.create_registered_model(name, tags={"dataset.fingerprint": results.study.dataset.fingerprint})
    version = client.create_model_version(name, run.info.artifact_uri, run_id=run.info.run_id, description="old")
    client.set_registered_model_alias(name, CHAMPION, version.version)

    describe_champion(uri, results.study.model_copy(update={"name": "another"}), lambda number: "new")
    describe_champion(uri, results.study, lambda number: None)
    assert client.get_model_version(name, version.version).description == "old"
    bench.final(seeds=1)
    described = client.get_model_version(name, version.version).description
    assert "The same configuration, trained again with 1 fresh seed, was tested on 4 tracks" in described

    (bench.workspace / "mlflow.db").write_text("no database")
    bench.events.clear()
    assert bench.final(seeds=1).finals is not None
    warnings = [event.text for event in bench.events if isinstance(event, Note) and event.warning]
    assert ["the champion's card was not renewed" in text for text in warnings] == [True]


def test_an_answer_is_shown_with_its_most_probable_genres_and_over_time() -> None:
    crops = np.array([[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [0.1, 0.3, 0.6]], np.float32)
    prediction = TrackPrediction(("jazz", "rock", "pop"), ((0.0, 20.0), (20.0, 40.0), (40.0, 65.2)), crops)
    assert line(prediction) == "jazz 50 %, rock 30 %, pop 20 %"
    strips = timeline(prediction)
    assert strips == [
        "  jazz " + "█" * 20 + "▒" * 20 + " " * 20,
        "  pop  " + " " * 40 + "▒" * 20,
        "       0:00" + " " * 52 + "1:05",
    ]
    long = TrackPrediction(
        ("jazz", "rock"), tuple((float(s), s + 1.0) for s in range(500)), np.full((500, 2), 0.5, np.float32)
    )
    assert {len(strip) for strip in timeline(long)} == {7 + 60}
    record = prediction.record()
    assert record["genre"] == "jazz"
    assert [crop["genre"] for crop in record["crops"]] == ["jazz", "jazz", "pop"]
    assert record["crops"][2]["end_seconds"] == 65.2
    assert json.loads(json.dumps(record)) == record


def test_the_crops_of_an_embedding_lie_where_the_network_heard_them() -> None:
    """YAMNet has 61 frames in 30 s, but they are 0.48 s apart, and so are those of any longer track."""
    input_spec = InputSpec("yamnet", "embedding", 0, yamnet.SIZE, 61, "1a2b")
    for seconds in (3.1, 29.0, 30.0, 31.0, 61.0, 600.0, 3600.0):
        frames = 1 + (round(seconds * NETWORK_RATE) - yamnet.WINDOW) // yamnet.HOP
        spans = crop_spans(input_spec, frames, seconds)
        starts = crop_starts(frames, input_spec.length)
        assert len(spans) == len(starts)
        assert (spans[0][0], spans[-1][1]) == (0.0, pytest.approx(seconds))
        for (start, end), frame in zip(spans, starts.tolist(), strict=True):
            assert 0 <= start < end <= seconds
            assert start == pytest.approx(frame * yamnet.HOP / NETWORK_RATE, abs=1.0)


def test_the_crops_of_features_and_waveforms_lie_where_they_were_cut() -> None:
    length = 1 + 60 * SAMPLE_RATE // 512
    spans = crop_spans(MFCC_INPUT, length, 60.0)
    assert [start * SAMPLE_RATE / 512 for start, _ in spans] == pytest.approx(crop_starts(length, 130).tolist())
    assert spans[-1][1] <= 60.0
    assert crop_spans(WAVEFORM_INPUT, 12 * SAMPLE_RATE, 12.0) == ((0.0, 5.0), (3.5, 8.5), (7.0, 12.0))


def error_output() -> tuple[int, int]:
    """What file the process' standard error is."""
    found = os.fstat(2)
    return found.st_dev, found.st_ino


def bare_bundle(folder: Path) -> Path:
    """A bundle without a network: enough for files that cannot be read."""
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"format": FORMAT, "input_spec": asdict(MFCC_INPUT), "about": {}}))
    (folder / "labels.json").write_text('["a", "b"]')
    return folder


def test_a_classifier_leaves_standard_error_to_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's server asks from several threads, and standard error is the whole process'."""
    before, seen = error_output(), []

    def watched(path: Path) -> Any:
        seen.append(error_output())
        return open_blocks(path)

    monkeypatch.setattr("harness.datasets.track_audio.open_blocks", watched)
    (tmp_path / "text.mp3").write_text("la la la")
    with pytest.raises(DataError, match="not audio"):
        Classifier.load(bare_bundle(tmp_path / "bundle")).file(tmp_path / "text.mp3")
    assert seen == [before]


def test_standard_error_is_back_after_a_prediction_that_fails() -> None:
    before = error_output()
    seen = []

    def fail() -> None:
        seen.append(error_output())
        raise ValueError("loud")

    with pytest.raises(ValueError, match="loud"), redirected(2):
        fail()
    assert seen != [before]
    assert error_output() == before


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("absent", "--model absent: no such folder"),
        ("models:/x@champion", "models:/x@champion: cannot be fetched from sqlite"),
        ("models:/x/3", "models:/x/3: cannot be fetched from sqlite"),
        ("runs:/0a1b", "runs:/0a1b: cannot be fetched from sqlite"),
        ("nowhere://x", "nowhere://x: cannot be fetched from sqlite"),
    ],
)
def test_a_model_that_is_not_there_is_named(tmp_path: Path, model: str, message: str) -> None:
    new_store(tmp_path)
    with pytest.raises(HarnessError, match=message), resolve.open_model(tmp_path, model, None, tmp_path):
        pass


def test_a_workspace_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    done = harness("predict", "song.wav", "--workspace", absent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {absent}: holds no trained model. Train some with")
    with (
        pytest.raises(TrackingError, match="there is no MLflow store"),
        resolve.open_model(absent, "models:/x", None, absent),
    ):
        pass
    assert not absent.exists()


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no whole model \(No such file or directory: model\.json\)"):
        Classifier.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": FORMAT}))
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(ModelError, match=r"model\.json: not of a model that this version can read \('input_spec'\)"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "written"), [('{"format": 3}', "3"), ("{}", r"0 \(before formats were numbered\)"), ("[]", "0 ")]
)
def test_a_model_of_another_format_says_which(tmp_path: Path, content: str, written: str) -> None:
    (tmp_path / "model.json").write_text(content)
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(
        ModelError, match=f"model.json: written in format {written}.* reads format {FORMAT}. Use the version"
    ):
        Classifier.load(tmp_path)


def test_an_export_never_writes_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(UsageError, match="is there, and not empty"):
        export(tmp_path / "bundle", tmp_path)
    # It is said before a model is looked for.
    done = harness("export", tmp_path, "--workspace", tmp_path / "absent")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}: is there, and not empty. Name a new folder.\n")


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bare_bundle(tmp_path / "bundle")

    def full() -> list[str]:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("harness.inference.bundle.requirements", full)
        with pytest.raises(UsageError, match="cannot be written"):
            export(bundle, tmp_path / "model")
    with monkeypatch.context() as patch:
        patch.setattr("harness.inference.bundle.distributions", lambda name: ())
        with pytest.raises(UsageError, match="without its licence"):
            export(bundle, tmp_path / "model")
    assert list(tmp_path.iterdir()) == [bundle]


def test_an_export_carries_the_code_that_it_needs_and_is_small(tmp_path: Path) -> None:
    export(bare_bundle(tmp_path / "bundle"), tmp_path / "model")
    code = tmp_path / "model" / "code"
    assert [path.name for path in code.iterdir()] == ["harness"]
    assert (code / "harness" / "models" / "layers.py").exists()
    assert not list(code.rglob("__pycache__"))
    assert sum(path.stat().st_size for path in code.rglob("*")) < 2 * MIB
    (tmp_path / "text.mp3").write_text("la la la")
    example = [sys.executable, str(tmp_path / "model" / "classify.py"), "text.mp3"]
    done = subprocess.run(example, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: text.mp3: not audio that libsndfile can read. Name an audio file")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="session")
def best(benchmark: Benchmark) -> tuple[StudyResults, TrialRecord]:
    """The study and the trial whose model answers in the workspace."""
    ledger = Ledger(Workspace(benchmark.workspace))
    found = resolve.best_model(ledger, ledger.studies())
    assert found is not None
    return found


@pytest.fixture(scope="session")
def songs(best: tuple[StudyResults, TrialRecord], tones: Path) -> list[Path]:
    """The tracks that it was validated on."""
    results, trial = best
    return [tones / track.partition(".")[0] / f"{track}.wav" for track in results.predictions[trial.number].tracks]


@pytest.fixture(scope="session")
def predicted(benchmark: Benchmark, songs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What `harness predict --json` says of the songs, and of three files that cannot serve."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.mp3").write_text("la la la")
    short = write_audio(folder / "short.wav", noise("short", 1.0))
    files = [folder / "text.mp3", *songs, short, folder / "absent.wav"]
    return harness("predict", *files, "--workspace", benchmark.workspace, "--json")


@pytest.fixture(scope="session")
def answers(predicted: Done) -> list[dict[str, Any]]:
    return [json.loads(text) for text in predicted.stdout.splitlines()]


def probabilities(answers: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [answer["probabilities"] for answer in answers]


@pytest.mark.slow
def test_predict_says_what_the_search_predicted(
    best: tuple[StudyResults, TrialRecord], songs: list[Path], answers: list[dict[str, Any]]
) -> None:
    """Runs a search, and a command that imports the framework."""
    results, trial = best
    stored = results.predictions[trial.number]
    assert [answer["file"] for answer in answers] == list(map(str, songs))
    np.testing.assert_allclose(
        [list(answer.values()) for answer in probabilities(answers)], stored.probabilities, atol=1e-6
    )
    for answer in answers:
        assert tuple(answer["probabilities"]) == stored.genres
        crops = [list(crop["probabilities"].values()) for crop in answer["crops"]]
        np.testing.assert_allclose(np.mean(crops, axis=0), list(answer["probabilities"].values()), atol=1e-6)
        assert answer["crops"][0]["start_seconds"] == 0.0
        assert answer["crops"][-1]["end_seconds"] == pytest.approx(4.0, abs=0.03)


@pytest.mark.slow
def test_a_bad_file_costs_only_itself(best: tuple[StudyResults, TrialRecord], predicted: Done) -> None:
    """Runs a search, and a command that imports the framework."""
    assert predicted.returncode == 2
    _, trial = best
    model, note, *errors = predicted.stderr.splitlines()
    assert model.startswith(f"model: {trial.family}, trial {trial.number} of {trial.study}: ")
    assert note.startswith("note: trained by a --quick study")
    assert len(errors) == 3
    assert ["text.mp3: not audio" in errors[0], "too short: 1.00 s" in errors[1], "absent.wav" in errors[2]] == [
        True
    ] * 3


@pytest.mark.slow
def test_an_exported_folder_answers_alike_by_itself(
    benchmark: Benchmark, songs: list[Path], answers: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Runs a search, and commands that import the framework."""
    moved = shutil.copytree(benchmark.workspace, tmp_path / "moved")
    done = harness("export", tmp_path / "model", "--workspace", moved)
    assert done.stdout == f"{tmp_path / 'model'}\n", done.stderr
    shutil.rmtree(moved)
    assert json.loads((tmp_path / "model" / "labels.json").read_text()) == ["high", "low", "middle", "top"]
    assert (tmp_path / "model" / "LICENSE").read_text().startswith("MIT License")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
    assert not [path for path in (tmp_path / "model").rglob("*.json") if str(tmp_path) in path.read_text()]
    example = [sys.executable, tmp_path / "model" / "classify.py", *songs]
    shown = subprocess.run(list(map(str, example)), capture_output=True, text=True, cwd=tmp_path, check=True)
    assert shown.stderr == ""
    predictions = [json.loads(text) for text in shown.stdout.splitlines()]
    assert probabilities(predictions) == probabilities(answers)
    with resolve.open_model(tmp_path / "absent", str(tmp_path / "model"), None, tmp_path) as bundle:
        assert Classifier.load(bundle).genres == ("high", "low", "middle", "top")


@pytest.fixture
def served(benchmark: Benchmark, best: tuple[StudyResults, TrialRecord], tmp_path: Path) -> Iterator[str]:
    """The address of the server that the README's own lines start, in a checkout of a user who activated nothing."""
    blocks = re.findall(r"```\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    (lines,) = [block for block in blocks if "mlflow models serve" in block]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "workspace").symlink_to(benchmark.workspace)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    order = f"{lines.strip().replace('NAME', f'tones-{best[1].family}')} --port {port}"
    own = Path(sys.executable).parent
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each).absolute() != own)
    settings = {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("w+") as log:
        server = subprocess.Popen(
            ["bash", "-c", order],
            env={**os.environ, **settings},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not answers_at(f"http://127.0.0.1:{port}/ping"):
                log.seek(0)
                assert server.poll() is None, log.read()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            kill_group(server.pid)
            server.wait()


def answers_at(address: str) -> bool:
    try:
        return requests.get(address, timeout=60).ok
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_mlflow_serves_alike_from_paths(served: str, songs: list[Path], answers: list[dict[str, Any]]) -> None:
    """Runs a search, and MLflow's own server, which imports the framework."""
    rows = {"dataframe_records": [{"audio": str(song)} for song in songs]}
    predictions = requests.post(f"{served}/invocations", json=rows, timeout=300).json()["predictions"]
    assert [answer.pop("genre") for answer in predictions] == [answer["genre"] for answer in answers]
    assert predictions == probabilities(answers)


@pytest.mark.slow
def test_mlflow_answers_alike_from_waveforms_and_shows_the_card(
    keras: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    benchmark: Benchmark,
    best: tuple[StudyResults, TrialRecord],
    songs: list[Path],
    answers: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Runs a search, and imports the framework."""
    import pandas
    import soundfile
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from harness.tracking.mlflow.logged_model import download_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own models
        from mlflow.pyfunc import load_model

    uri, family = Workspace(benchmark.workspace).mlflow_url, best[1].family
    version = MlflowClient(uri).get_model_version_by_alias(f"tones-{family}", "champion")
    assert version.description.startswith(f"# {family}, trained on tones")
    folder = download_model(uri, f"runs:/{version.run_id}", tmp_path / "fetched")
    card = (folder / "artifacts" / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "and nothing was tested yet. Where the model is registered" in card
    before, loaded, seen = error_output(), keras.models.load_model, []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(error_output())
        return loaded(*arguments, **options)

    monkeypatch.setattr(keras.models, "load_model", watched)
    model = load_model(str(folder))
    assert seen == [before]
    waveforms = [soundfile.read(song, dtype="float32")[0].tolist() for song in songs]
    predictions = model.predict(pandas.DataFrame({"samples": waveforms, "rate": [RATE] * len(songs)}))
    np.testing.assert_allclose(
        predictions[["high", "low", "middle", "top"]],
        [list(each.values()) for each in probabilities(answers)],
        atol=1e-6,
    )
    example = model.predict(model.input_example)
    assert example[["high", "low", "middle", "top"]].sum(axis=1).tolist() == pytest.approx([1.0])
    with pytest.raises(MlflowException, match="too short"):
        model.predict(pandas.DataFrame({"samples": [[0.0, 0.5]], "rate": [RATE]}))
    with pytest.raises(MlflowException, match="a row without audio"):
        model.predict(pandas.DataFrame({"rate": [RATE]}))


@pytest.mark.slow
def test_a_model_on_embeddings_carries_the_network_that_embeds(keras: ModuleType, tmp_path: Path) -> None:
    """Imports the framework, which exports the network."""
    network = export_network(tmp_path / "listener", "plain")
    extractor = extractors([str(network)], tmp_path / "cache")["listener"]
    inputs = keras.Input(extractor.input_spec.shape)
    head = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs)))
    head.save(tmp_path / "model.keras")
    write_bundle(tmp_path / "bundle", tmp_path / "model.keras", extractor.input_spec, ("a", "b"), {}, "", extractor)
    waveform = noise("song", 70.0, SAMPLE_RATE)
    frames = extractor.embed(np.divide(quantised(waveform), FULL_SCALE, dtype=np.float32))
    shutil.rmtree(network)

    prediction = Classifier.load(tmp_path / "bundle").samples(waveform, SAMPLE_RATE)
    assert [round(start) for start, _ in prediction.spans] == [0, 20, 40]
    expected = [frames[:, round(2 * start) :][:, :60] for start, _ in prediction.spans]
    np.testing.assert_allclose(prediction.crops, head.predict_on_batch(np.stack(expected)[..., None]), atol=1e-6)


@pytest.mark.slow
def test_many_crops_are_answered_in_their_order(keras: ModuleType, benchmark: Benchmark, tmp_path: Path) -> None:
    """Runs a search, and imports the framework."""
    waveform = noise("long", 3.0 * (BATCH + 2), SAMPLE_RATE)
    with resolve.open_model(benchmark.workspace, None, None, tmp_path) as bundle:
        classifier = Classifier.load(bundle)
        prediction = classifier.samples(waveform, SAMPLE_RATE)
    input_spec = classifier.input_spec
    features = extract(waveform)[input_spec.start : input_spec.stop]
    crops = np.stack(
        [crop(features, input_spec, start) for start in crop_starts(features.shape[1], input_spec.length).tolist()]
    )
    assert len(crops) > BATCH
    np.testing.assert_allclose(prediction.crops, classifier.network().predict_on_batch(crops), atol=1e-5)
    with pytest.raises(DataError, match="waveform of 5 samples at 22050 Hz: too short"):
        classifier.samples(np.ones(5, np.float32), SAMPLE_RATE)
