"""Embeddings of frozen networks: what may be named, what a network is asked, what lies in the store."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from optuna.trial import FixedTrial

from harness.datasets.signal import FULL_SCALE, SAMPLE_RATE
from harness.errors import UsageError
from harness.features.embeddings import extractor, musicnn, saved_model, yamnet
from harness.features.embeddings.extractor import Extractor, extract_missing, extractors
from harness.features.store import FeatureStore
from harness.models import ModelInputs
from harness.settings import MUSICNN
from search_spaces import pretrained
from tests.helpers.models import GENRES, ToneStore
from tests.helpers.networks import HALF, export_network


def statistics(samples: np.ndarray) -> np.ndarray:
    """What that network makes of samples: mean and mean square of every half second, (frames, 2)."""
    pieces = samples[: len(samples) // HALF * HALF].reshape(-1, HALF)
    return np.stack([pieces.mean(axis=1), np.square(pieces).mean(axis=1)], axis=1)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def listener(keras: ModuleType, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    """The small network, loaded."""
    return extractors([str(export_network(tmp_path_factory.mktemp("networks") / "listener", "plain"))], cache)[
        "listener"
    ]


def test_a_path_that_is_no_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()
    with pytest.raises(UsageError, match=r"absent\.tflite: no such file or folder\. Name YAMNet"):
        extractors([str(tmp_path / "absent.tflite")], tmp_path)
    with pytest.raises(UsageError, match=r"weights\.h5: neither a \.tflite file nor a folder with saved_model\.pb"):
        extractors([str(tmp_path / "weights.h5")], tmp_path)
    with pytest.raises(UsageError, match=r"neither a \.tflite file nor a folder"):
        extractors([str(tmp_path)], tmp_path)
    assert extractors([], tmp_path) == {}


def lite_file(path: Path, cache: Path) -> str:
    """A file that passes for YAMNet, of a shape that is known already."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.stem)
    described = cache / "embeddings" / f"{extractor._fingerprint(path)}.json"
    described.parent.mkdir(parents=True, exist_ok=True)
    described.write_text('{"size": 1024, "frames": 61}')
    return str(path)


def test_two_files_of_yamnet_are_compared_by_their_names(tmp_path: Path) -> None:
    named = [lite_file(tmp_path / f"{name}.tflite", tmp_path / "cache") for name in ("yamnet", "finetuned")]
    assert list(extractors(named, tmp_path / "cache")) == ["yamnet", "finetuned"]
    same = lite_file(tmp_path / "other" / "yamnet.tflite", tmp_path / "cache")
    with pytest.raises(UsageError, match=r"a second embedding called 'yamnet', .* rename the file or folder\."):
        extractors([*named, same], tmp_path / "cache")


def test_musicnn_is_refused_without_an_index_and_from_a_wrong_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(UsageError, match=r"musicnn==0\.1\.0: pip cannot download it \(.*No matching distribution"):
        extractors([MUSICNN], tmp_path / "cache")
    with zipfile.ZipFile(wheels / "musicnn-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("musicnn-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: musicnn\nVersion: 0.1.0\n")
        wheel.writestr("musicnn-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("musicnn-0.1.0.dist-info/RECORD", "")
    with pytest.raises(UsageError, match="another wheel than it should have"):
        extractors([MUSICNN], tmp_path / "cache")


def test_the_space_chooses_among_the_embeddings_at_hand() -> None:
    config = {**pretrained.FAMILY.baseline, "embedding": "yamnet"}
    assert pretrained.space(FixedTrial(config), False, embeddings=("yamnet", "vggish")) == config


def test_the_spectrogram_fills_whole_patches() -> None:
    short = musicnn.spectrogram(noise(16_000))
    assert short.shape == (1, 187, 96, 1)
    np.testing.assert_array_equal(short[0, 63 : 2 * 63], short[0, :63])
    assert musicnn.spectrogram(noise(3 * 16_000 * 10)).shape == (10, 187, 96, 1)
    assert not musicnn.spectrogram(np.zeros(48_000, np.float32)).any()


@pytest.mark.slow
@pytest.mark.parametrize("pooling", pretrained.POOLINGS)
def test_the_order_of_frames_is_no_matter(keras: ModuleType, pooling: str) -> None:
    """Imports the framework."""
    config = {**pretrained.FAMILY.baseline, "pooling": pooling, "hidden_layers": 2, "units": 8}
    model = pretrained.build(config, ModelInputs((5, 6, 1), GENRES, np.ones(5, np.float32), np.full(5, 2, np.float32)))
    frames = np.random.default_rng(0).normal(size=(3, 5, 6, 1)).astype(np.float32)
    answers = model.predict_on_batch(frames)
    np.testing.assert_allclose(model.predict_on_batch(frames[:, :, ::-1]), answers, atol=1e-6)
    assert np.ptp(answers, axis=0).min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "callable", "row", "batch", "named"])
def test_a_saved_model_is_heard_whatever_way_it_is_asked(keras: ModuleType, tmp_path: Path, kind: str) -> None:
    """Imports the framework, which exports the model."""
    embed = saved_model.load(export_network(tmp_path / kind, kind))
    np.testing.assert_allclose(embed(noise(30_000)), statistics(noise(30_000)), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_a_saved_model_may_give_one_vector(keras: ModuleType, tmp_path: Path) -> None:
    """Imports the framework, which exports the model."""
    embed = saved_model.load(export_network(tmp_path / "vector", "vector"))
    assert embed(noise(30_000)).shape == (1, 2)


@pytest.mark.slow
def test_a_model_that_cannot_serve_is_refused(keras: ModuleType, tmp_path: Path, cache: Path) -> None:
    """Imports the framework, and asks a child for the shape of what a model gives."""
    with pytest.raises(UsageError, match=r"pair: gives no embedding.*answers with output_0, output_1, of which"):
        saved_model.load(export_network(tmp_path / "pair", "pair"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="empty: TensorFlow cannot load it"):
        saved_model.load(tmp_path / "empty")
    with pytest.raises(UsageError, match=r"broken: gave .* not finite"):
        extractors([str(export_network(tmp_path / "broken", "broken"))], cache)


@pytest.mark.slow
def test_embeddings_are_made_once_and_are_what_the_network_gives(
    listener: Extractor, tone_store: ToneStore, tmp_path: Path
) -> None:
    """Imports the framework, here and in a child."""
    assert (listener.name, listener.size, listener.frames) == ("listener", 2, 60)
    root, tracks = tone_store
    store = FeatureStore(shutil.copytree(root, tmp_path / "store"))
    wanted = [track.digest for track in tracks[:3]]
    # One that is torn is made anew.
    store.put_embedding(listener.fingerprint, wanted[1], np.zeros((2, 8), np.float32))
    (damaged,) = (store.root / "embeddings").rglob("*.npy")
    damaged.write_bytes(damaged.read_bytes()[:-4])
    made: list[tuple[int, int]] = []
    for _ in range(2):
        extract_missing(store, wanted, listener, lambda done, total: made.append((done, total)))
    assert made == [(1, 3), (2, 3), (3, 3)]
    for digest in wanted:
        frames = store.embedding(listener.fingerprint, digest)
        assert frames.shape == (2, 8)
        expected = listener.embed((store.waveform(digest) / FULL_SCALE).astype(np.float32))
        np.testing.assert_allclose(frames, expected, rtol=1e-5)


@pytest.mark.slow
def test_a_network_is_known_by_what_it_is(listener: Extractor, cache: Path, tmp_path: Path) -> None:
    """Imports the framework."""
    copy = shutil.copytree(listener.path, tmp_path / "copy")
    assert extractors([str(copy)], cache)["copy"].fingerprint == listener.fingerprint
    with pytest.raises(UsageError, match="a second embedding called 'copy'"):
        extractors([str(copy), str(shutil.copytree(copy, tmp_path / "other" / "copy"))], cache)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 1_000, SAMPLE_RATE])
def test_silence_and_short_clips_have_finite_embeddings(listener: Extractor, samples: int) -> None:
    """Imports the framework."""
    silent = listener.embed(np.zeros(samples, np.float32))
    assert silent.shape == (2, 2)
    assert not silent.any()


@pytest.fixture(scope="session")
def lite(keras: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small networks as TensorFlow Lite files: one with the insides of YAMNet, and one without them."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([yamnet.WINDOW], tf.float32)])
    def like_yamnet(waveform: Any) -> Any:
        pieces = tf.reshape(waveform, [1, 15, 1, 1040])[..., : yamnet.SIZE]
        with tf.name_scope("yamnet_frames/global_average_pooling2d"):
            inner = tf.reduce_mean(pieces, [1, 2])
        return tf.square(inner)[:, :521]

    @tf.function(input_signature=[tf.TensorSpec([yamnet.WINDOW], tf.float32)])
    def other(waveform: Any) -> Any:
        return tf.square(waveform)

    folder = tmp_path_factory.mktemp("lite")
    files = {}
    for name, function in {"like_yamnet": like_yamnet, "other": other}.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(converter.convert())
    return files


@pytest.mark.slow
def test_yamnet_hears_window_after_window(lite: dict[str, Path]) -> None:
    """Imports the framework, which exports the network."""
    embed = yamnet.load(lite["like_yamnet"])
    samples = noise(2 * yamnet.WINDOW)
    windows = np.stack([samples[start : start + yamnet.WINDOW] for start in (0, yamnet.HOP, 2 * yamnet.HOP)])
    expected = windows.reshape(3, 15, 1040)[..., : yamnet.SIZE].mean(axis=1)
    np.testing.assert_allclose(embed(samples), expected, atol=1e-6)
    assert not embed(np.zeros(16_000, np.float32)).any()


@pytest.mark.slow
def test_what_is_not_yamnet_is_refused(lite: dict[str, Path], tmp_path: Path) -> None:
    """Imports the framework, which exports the network."""
    with pytest.raises(UsageError, match=r"other\.tflite: not YAMNet, which takes 15600 samples"):
        yamnet.load(lite["other"])
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(lite["like_yamnet"].read_bytes()[:100])
    with pytest.raises(UsageError, match=r"torn\.tflite: not a TensorFlow Lite file"):
        yamnet.load(torn)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MusiCNN's package, 29 MB."""
    try:
        return musicnn.download(tmp_path_factory.mktemp("wheel"))
    except UsageError as error:
        if "cannot download" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.slow
def test_musicnn_is_the_network_that_its_authors_published(keras: ModuleType, wheel: Path) -> None:
    """Downloads MusiCNN, imports the framework, and runs the graph that the package holds beside the one built here."""
    import tensorflow as tf
    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

    with zipfile.ZipFile(wheel) as archive:
        published = MetaGraphDef.FromString(archive.read(f"{musicnn.CHECKPOINT}.meta")).graph_def
    weights = np.load(musicnn.convert(wheel))
    # Without what training needed, which TensorFlow reads no more.
    kept = tf.compat.v1.graph_util.extract_sub_graph(published, ["model/Sigmoid"])
    pool = [node.name for node in kept.node if node.name.endswith("batch_normalization_10/batchnorm/add_1")]
    patches = musicnn.spectrogram(noise(2 * 48_000))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.import_graph_def(kept, name="")
        for variable in (operation for operation in graph.get_operations() if operation.type == "VariableV2"):
            session.run(tf.raw_ops.Assign(ref=variable.outputs[0], value=weights[variable.name]))
        inputs, training = (f"model/Placeholder{end}:0" for end in ("", "_2"))
        tags, penultimate = session.run(["model/Sigmoid:0", f"{pool[0]}:0"], {inputs: patches[..., 0], training: False})
    answer = musicnn.build(weights).predict_on_batch(patches)
    np.testing.assert_allclose(answer["tags"], tags, atol=1e-5)
    np.testing.assert_allclose(answer["penultimate"], penultimate, atol=1e-3)
    assert np.ptp(tags, axis=1).min() > 0.1


@pytest.mark.slow
def test_musicnn_hears_silence_and_short_clips(keras: ModuleType, wheel: Path) -> None:
    """Downloads MusiCNN, and imports the framework."""
    weights = musicnn.convert(wheel)
    network = Extractor("musicnn", weights, "fingerprint", musicnn.SIZE, 10)
    for samples in (np.zeros(1, np.float32), noise(100), noise(5 * SAMPLE_RATE), noise(7 * SAMPLE_RATE)):
        frames = network.embed(samples)
        assert frames.shape == (musicnn.SIZE, max(1, len(samples) // (3 * SAMPLE_RATE)))
        assert np.isfinite(frames).all()
    np.savez(weights, other=np.zeros(1))
    with pytest.raises(UsageError, match=r"\.npz: not the weights of MusiCNN"):
        musicnn.load(weights)
