"""MusiCNN, a tagger of music trained on MagnaTagATune (Pons and Serra, "musicnn", ISMIR 2019 late-breaking demo).

Its package on PyPI holds the weights; its code asks for a TensorFlow of 2019. So the wheel is downloaded and the
weights are read from it, once, and the network is built here.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.datasets.signal import Samples
from harness.errors import UsageError
from harness.features.extract import Features
from harness.processes import child_environment

if TYPE_CHECKING:
    import keras

PACKAGE = "musicnn==0.1.0"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
CHECKPOINT = "musicnn/MTT_musicnn/"
"""Where the wheel has the model's checkpoint, whose files have a suffix and no name."""

RATE = 16_000
N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
PATCH = 187
"""Frames of the mel spectrogram that the network takes at once, one patch after the other: 3.0 s."""

TAGS = 50
SIZE = 200


def download(folder: Path) -> Path:
    """Download the wheel into an empty `folder` with pip, and return it.

    Raises:
        UsageError: pip cannot download it, or it is another one than it should be.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run([*command, PACKAGE], env=child_environment(), capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(
            f"{PACKAGE}: pip cannot download it ({reason}). Run again where it can reach a package index, or leave "
            f"MusiCNN out."
        )
    (wheel,) = folder.glob("*.whl")
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != WHEEL_SHA256:
        raise UsageError(
            f"{PACKAGE}: pip downloaded another wheel than it should have (SHA-256 {found}). Look where your pip takes "
            f"packages from, or leave MusiCNN out."
        )
    return wheel


def convert(wheel: Path) -> Path:
    """Write the weights in the wheel's checkpoint beside it as `.npz`, under their names there, and return that file.

    It needs TensorFlow, whatever Keras runs on.
    """
    import tensorflow as tf

    checkpoint = wheel.with_name("checkpoint")
    with zipfile.ZipFile(wheel) as archive:
        for suffix in (".index", ".data-00000-of-00001"):
            checkpoint.with_suffix(suffix).write_bytes(archive.read(f"{CHECKPOINT}{suffix}"))
    reader = tf.train.load_checkpoint(str(checkpoint))
    # The optimizer's variables lie below those that they belong to, or on no layer.
    names = [name for name in reader.get_variable_to_shape_map() if name.count("/") == 1]
    file = wheel.with_suffix(".npz")
    np.savez(file, **{name: reader.get_tensor(name) for name in sorted(names)})
    return file


def load(path: Path) -> Callable[[Samples], Features]:
    """Return the network: samples at 16 kHz, shape (n,), to float32 (frames, 200), the activations before the tags.

    The last piece of a track that fills no patch is left out; what is shorter than one is repeated from its beginning.

    Raises:
        UsageError: the file holds other weights.
    """
    try:
        with np.load(path) as weights:
            model = build(weights)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: not the weights of MusiCNN ({error}). Remove it; it is made anew.") from None

    def embed(samples: Samples) -> Features:
        patches = spectrogram(samples)
        # One at a time: batches of other sizes would be compiled anew.
        return np.concatenate([np.asarray(model.predict_on_batch(patch[None])["penultimate"]) for patch in patches])

    return embed


def spectrogram(samples: Samples) -> Features:
    """Return the patches that the network takes, float32 (patches, 187, 96, 1), of samples at 16 kHz."""
    import librosa

    mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS)
    frames = np.log10(1 + 10_000 * mel.T.astype(np.float32))
    count = max(1, len(frames) // PATCH)
    return np.resize(frames, (count, PATCH, N_MELS, 1))


def build(weights: Mapping[str, np.ndarray]) -> keras.Model:
    """Build the network from the arrays of its checkpoint, under their names there.

    It answers patches, float32 (batch, 187, 96, 1), with `penultimate`, float32 (batch, 200), and `tags`, the
    probabilities of the 50 tags, float32 (batch, 50).
    """
    import keras
    from keras import layers, ops

    def number(name: str, index: int) -> str:
        return f"{name}_{index}" if index else name

    def normalize(x: Any, index: int) -> Any:
        return layers.BatchNormalization(epsilon=1e-3, name=number("batch_normalization", index))(x)

    def convolve(x: Any, index: int, filters: int, kernel: tuple[int, int], padding: str = "valid") -> Any:
        name = number("conv2d", index)
        x = layers.Conv2D(filters, kernel, padding=padding, activation="relu", name=name)(x)
        return normalize(x, index + 1)

    inputs = keras.Input((PATCH, N_MELS, 1))
    x = normalize(inputs, 0)
    pad = layers.ZeroPadding2D((3, 0))
    # What sounds: kernels over a part of the spectrum. What happens: kernels over time alone.
    timbre = [convolve(pad(x), index, 204, (7, bands)) for index, bands in enumerate((38, 67))]
    rhythm = [convolve(x, index, 51, (frames, 1), "same") for index, frames in enumerate((128, 64, 32), start=2)]
    front = layers.Concatenate()([ops.max(part, axis=2) for part in (*timbre, *rhythm)])

    def over_time(x: Any, index: int) -> Any:
        padded = pad(layers.Reshape((*x.shape[1:], 1))(x))
        return ops.squeeze(convolve(padded, index, 64, (7, padded.shape[2])), axis=2)

    first = over_time(front, 5)
    second = layers.Add()([over_time(first, 6), first])
    third = layers.Add()([over_time(second, 7), second])
    x = layers.Concatenate()([front, first, second, third])
    x = layers.Flatten()(ops.stack([ops.max(x, axis=1), ops.mean(x, axis=1)], axis=-1))
    x = layers.Dense(SIZE, activation="relu", name="dense")(normalize(x, 9))
    penultimate = normalize(x, 10)
    tags = layers.Dense(TAGS, activation="sigmoid", name="dense_1")(penultimate)

    model = keras.Model(inputs, {"penultimate": penultimate, "tags": tags})
    for layer in model.layers:
        layer.set_weights([weights[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    return model
