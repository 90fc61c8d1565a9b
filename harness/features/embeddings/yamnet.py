"""YAMNet, Google's classifier of audio events (AudioSet, 521 classes), from a TensorFlow Lite file of the user's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from harness.datasets.signal import Samples
from harness.errors import UsageError
from harness.features.extract import Features

WINDOW = 15_600
"""Samples at 16 kHz that the network takes at once: 0.975 s."""

HOP = 7_680
"""Samples from one window to the next, as in YAMNet's own code: 0.48 s."""

EMBEDDING = "global_average_pooling2d/Mean"
"""What the name of the tensor holds that the classifier's last layer reads."""

SIZE = 1024


def load(path: Path) -> Callable[[Samples], Features]:
    """Return the network of a `.tflite` file: samples at 16 kHz, shape (n,), to float32 (frames, 1024).

    The last piece of a track that fills no window is left out.

    Raises:
        UsageError: the file is not YAMNet.
    """
    import tensorflow as tf

    try:
        with warnings.catch_warnings():
            # Its successor is another package; this one is still part of the TensorFlow that the harness is tied to.
            warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
            network = tf.lite.Interpreter(
                str(path),
                num_threads=1,
                # The embedding is no output; a delegate might not keep it.
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        network.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{path}: not a TensorFlow Lite file ({error}). Download YAMNet anew.") from None
    (waveform, *others) = network.get_input_details()
    inner = [
        tensor["index"]
        for tensor in network.get_tensor_details()
        if tuple(tensor["shape"]) == (1, SIZE) and EMBEDDING in tensor["name"]
    ]
    if others or tuple(waveform["shape"]) != (WINDOW,) or not inner:
        raise UsageError(
            f"{path}: not YAMNet, which takes {WINDOW} samples and has a tensor (1, {SIZE}) called {EMBEDDING}. "
            f"Download YAMNet as a classifier for TensorFlow Lite."
        )

    def embed(samples: Samples) -> Features:
        frames = []
        for start in range(0, len(samples) - WINDOW + 1, HOP):
            network.set_tensor(waveform["index"], samples[start : start + WINDOW])
            network.invoke()
            frames.append(network.get_tensor(inner[0])[0])
        return np.stack(frames)

    return embed
