"""A model that cannot be read is named, with the cause; a file that cannot be answered leaves others their answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from harness.datasets.signal import Samples
from harness.errors import DataError, ModelError, WorkspaceError
from harness.features.input_spec import MFCC_INPUT
from harness.inference import bundle as bundles
from harness.inference import pipeline, resolve
from harness.inference.pipeline import Classifier
from harness.inference.saved import check_network, load_network
from harness.records.base import FORMAT
from harness.tracking.ledger import Ledger
from harness.workflows.model import classify
from harness.workspace import Workspace
from tests.helpers.audio import noise, write_audio
from tests.helpers.reports import make_results

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 16512345\n"


def write_bundle(folder: Path) -> Path:
    """A bundle with a file that is no network, but whole."""
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"format": FORMAT, "input_spec": asdict(MFCC_INPUT), "about": {}}))
    (folder / "labels.json").write_text('["a", "b"]')
    with zipfile.ZipFile(folder / "model.keras", "w") as file:
        file.writestr("config.json", "{}" * 1000)
    return folder


class Indifferent:
    """A network to which all crops are alike."""

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        return np.full((len(batch), 2), 0.5, np.float32)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)


def pointer(path: Path) -> None:
    path.write_text(POINTER)


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (Path.unlink, r"holds no whole model \(No such file or directory: model\.keras\)"),
        (torn, r"model\.keras: damaged \(File is not a zip file\)"),
        (flipped, r"model\.keras: damaged \(its part config\.json is not what was written\)"),
        (pointer, r"model\.keras: stands for a file that Git LFS keeps\. Fetch it: git lfs pull"),
    ],
)
def test_a_network_that_cannot_be_read_is_named_with_the_cause(
    tmp_path: Path, damage: Callable[[Path], None], cause: str
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    check_network(bundle / "model.keras")
    damage(bundle / "model.keras")
    song = write_audio(tmp_path / "song.wav", noise("song", 4.0))
    with pytest.raises(ModelError, match=f"{bundle}.*{cause}"):
        list(classify(Classifier.load(bundle), [song]))
    bundles.export(bundle, tmp_path / "model")
    order = [sys.executable, str(tmp_path / "model" / "classify.py"), str(song)]
    done = subprocess.run(order, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {tmp_path / 'model'}")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("labels.json", POINTER, r"labels\.json: stands for a file that Git LFS keeps"),
        ("labels.json", '["a", ', r"labels\.json: damaged \(Expecting value: line 1"),
        ("labels.json", '{"a": 1}', r"labels\.json: is no list of names"),
        ("model.json", "", r"model\.json: damaged"),
    ],
)
def test_what_belongs_to_a_model_is_named_too(tmp_path: Path, name: str, content: str, cause: str) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / name).write_text(content)
    with pytest.raises(ModelError, match=cause):
        Classifier.load(bundle)


def test_a_damaged_model_of_a_workspace_has_its_own_name(tmp_path: Path) -> None:
    ledger, results = Ledger(Workspace(tmp_path)), make_results()
    ledger.open_study(results.study)
    for trial in results.trials:
        ledger.write_trial(trial, results.predictions.get(trial.number))
        if trial.completed:
            ledger.model_path(trial.study, trial.number).write_text("torn")
    found = resolve.best_model(ledger, ledger.studies())
    assert found is not None
    path = ledger.model_path(found[1].study, found[1].number)
    with (
        pytest.raises(ModelError, match=rf"^{path}: model\.keras: damaged \(File is not a zip file\)"),
        resolve.open_model(tmp_path, None, None, tmp_path) as bundle,
    ):
        Classifier.load(bundle).network()


def test_a_network_must_answer_with_the_genres_that_are_named(keras: ModuleType, tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    path = tmp_path / "model.keras"
    keras.Model(inputs, keras.layers.Dense(3)(inputs)).save(path)
    assert load_network(path, 3).output_shape == (None, 3)
    with pytest.raises(ModelError, match=r"answers with 3 genres, and the file of their names has 2"):
        load_network(path, 2)
    with pytest.raises(ModelError, match=r"model\.keras: Keras \S+ cannot load it \("):
        load_network(write_bundle(tmp_path / "bundle") / "model.keras", 2)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "too long for the memory that is free"),
        (OSError(5, "Input/output error"), r"cannot be classified \(OSError: \[Errno 5\] Input/output error\)"),
        (RuntimeError("Unspecified internal error"), r"cannot be classified \(RuntimeError: Unspecified internal"),
        (DataError("silent"), r"b\.wav: silent\. Name an audio file"),
        (None, r"b\.wav: not finite: it holds NaN or infinite samples\. Name an audio file"),
    ],
)
def test_whatever_is_wrong_with_a_file_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, reason: str
) -> None:
    @contextmanager
    def read_audio(path: Path) -> Iterator[tuple[Samples, str]]:
        if path.stem != "b":
            yield noise(path.stem, 4.0), "digest"
        elif error is None:
            yield np.full(100_000, np.inf, np.float32), "digest"
        else:
            raise error

    monkeypatch.setattr(pipeline, "read_audio", read_audio)
    classifier: Any = Classifier.load(write_bundle(tmp_path / "bundle"))
    classifier._network = Indifferent()
    (_, first), (_, failed), (_, last) = classify(classifier, [Path("a.wav"), Path("b.wav"), Path("c.wav")])
    assert first.probabilities == last.probabilities == {"a": 0.5, "b": 0.5}
    with pytest.raises(DataError, match=reason):
        raise failed


def test_a_name_that_is_no_text_costs_only_itself(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/mod\x85 notte.wav"))
    odd.write_bytes(write_audio(tmp_path / "song.wav", noise("song", 4.0)).read_bytes())
    classifier: Any = Classifier.load(write_bundle(tmp_path / "bundle"))
    classifier._network = Indifferent()
    answers = dict(classify(classifier, [odd, tmp_path / "song.wav"]))
    assert len(answers) == 2
    assert not isinstance(answers[tmp_path / "song.wav"], DataError)


def test_a_model_that_finds_no_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.inference.bundle.shutil.copyfile", full)
    with pytest.raises(WorkspaceError, match=rf"^{tmp_path}/made: cannot be written \(No space left on device\)"):
        bundles.write_bundle(tmp_path / "made", tmp_path / "model.keras", MFCC_INPUT, ("a", "b"), {}, "card")
