"""A small frozen network for the tests of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HALF = 8_000
"""Samples at 16 kHz in half a second: a frame of the network."""


def export_network(folder: Path, kind: str) -> Path:
    """Write the small network as a SavedModel that is asked, or answers, in the way that `kind` says."""
    import tensorflow as tf

    class Network(tf.Module):  # type: ignore[misc, unused-ignore]
        @tf.function(input_signature=[tf.TensorSpec([1, None] if kind == "row" else [None], tf.float32)])
        def __call__(self, waveform: Any) -> Any:
            samples = tf.reshape(waveform, [-1])
            count = tf.size(samples) // HALF
            pieces = tf.reshape(samples[: count * HALF], [count, HALF])
            frames = tf.stack([tf.reduce_mean(pieces, 1), tf.reduce_mean(tf.square(pieces), 1)], 1)
            if kind == "vector":
                return frames[0]
            if kind == "batch":
                return frames[None]
            if kind == "pair":
                return frames, frames
            if kind == "named":
                return {"scores": frames, "embedding": frames}
            return frames / (0.0 if kind == "broken" else 1.0)

    network = Network()
    # Left to itself, TensorFlow makes a signature of what can be called.
    tf.saved_model.save(network, str(folder), signatures={} if kind == "callable" else None)
    return folder
