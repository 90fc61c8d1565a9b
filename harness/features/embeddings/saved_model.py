"""Any network that was exported as a TensorFlow SavedModel, such as VGGish."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.signal import Samples
from harness.errors import UsageError, first_line
from harness.features.extract import Features

SECOND = 16_000
"""Samples at 16 kHz."""


def load(path: Path) -> Callable[[Samples], Features]:
    """Return the network of a SavedModel: samples at 16 kHz, shape (n,), to float32 (frames, D).

    The signature `serving_default` is called, or the model itself where it has none, with float32 of shape (n,) or
    (1, n). It answers with (frames, D) or (D,), alone or under a key that holds `embedding`.

    Raises:
        UsageError: the folder is not such a model.
    """
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: TensorFlow cannot load it ({error}). Export the SavedModel anew.") from None
    call = _callable(path, model)

    def ask(shape: tuple[int, ...], samples: Samples) -> Features:
        return _array(call(tf.reshape(samples, shape)))

    problems = []
    for shape in ((-1,), (1, -1)):
        network = partial(ask, shape)
        try:
            network(np.zeros(SECOND, np.float32))
        except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
            problems.append(first_line(error))
        else:
            return network
    raise UsageError(
        f"{path}: gives no embedding, neither for (samples,) nor for (1, samples) of float32 at 16 kHz "
        f"({'; '.join(dict.fromkeys(problems))}). Export it with a signature that takes one of these and gives "
        f"(frames, D) or (D,)."
    )


def _callable(path: Path, model: Any) -> Callable[[Any], Any]:
    """Return what answers a waveform."""
    if "serving_default" in model.signatures:
        signature = model.signatures["serving_default"]
        names = list(signature.structured_input_signature[1])
        if len(names) == 1:
            return lambda waveform: signature(**{names[0]: waveform})
    elif callable(model):
        return lambda waveform: model(waveform)
    raise UsageError(
        f"{path}: has no signature serving_default of one input, and cannot be called. Export it with one that takes a "
        f"waveform."
    )


def _array(answer: Any) -> Features:
    """Return the embedding in a model's answer, (frames, D).

    Raises:
        ValueError: there is none, or it is not clear which it is.
    """
    if isinstance(answer, list | tuple):
        answer = {str(place): part for place, part in enumerate(answer)}
    if isinstance(answer, dict):
        parts = [part for key, part in answer.items() if len(answer) == 1 or "embedding" in key]
        if len(parts) != 1:
            raise ValueError(
                f"answers with {', '.join(sorted(answer))}, of which not exactly one is called an embedding"
            )
        (answer,) = parts
    array = np.asarray(answer, np.float32)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim not in (1, 2):
        raise ValueError(f"answers with an array of shape {array.shape}")
    return np.atleast_2d(array)
