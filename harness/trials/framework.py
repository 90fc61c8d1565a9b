"""The framework in a child that has imported it: set up, asked for its device and its memory."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import psutil

from harness.errors import first_line
from harness.keras_backend import FRACTIONS, STAND_IN, backend, library_folders
from harness.trials import symptoms
from harness.units import MIB


def prepare(
    threads: int,
    deterministic: bool,
    seed: int,
    cap_bytes: int | None = None,
    device_bytes: int | None = None,
) -> None:
    """Set up the framework in a fresh child, before anything is built.

    Args:
        threads: processor threads that one operation may use.
        deterministic: ask for the same bits in every run on the same machine.
        seed: seeds Python, NumPy and the framework.
        cap_bytes: the most that the allocator may take on the GPU; it grows up to there as it needs. None for no cap.
        device_bytes: memory of the GPU.
    """
    if backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1 if deterministic else 2)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        if cap_bytes is not None and os.environ.get(STAND_IN):
            os.environ["TF_CPU_BFC_MEM_LIMIT_IN_MB"] = str(max(1, cap_bytes // MIB))
        elif cap_bytes is not None and (gpus := tf.config.list_physical_devices("GPU")):
            # Growth comes from TF_FORCE_GPU_ALLOW_GROWTH: the option for it and a limit exclude each other.
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=max(1, cap_bytes // MIB))
            tf.config.set_logical_device_configuration(gpus[0], [limit])
    else:
        if deterministic:
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        forget_fractions()
        if cap_bytes is not None:
            # A GPU whose driver does not tell its memory shares the machine's.
            whole = device_bytes or psutil.virtual_memory().total
            os.environ["XLA_CLIENT_MEM_FRACTION"] = f"{min(1.0, cap_bytes / whole):.6f}"
    import keras

    keras.utils.set_random_seed(seed)


def forget_fractions() -> None:
    """Drop a user's limits on JAX's memory: where two are set, JAX computes on the CPU without a word."""
    for name in FRACTIONS:
        os.environ.pop(name, None)


def hide_devices() -> None:
    """Keep a child of the fork server off every GPU; JAX has read its variable before the fork."""
    if backend() == "jax":
        import jax

        jax.config.update("jax_platforms", "cpu")


def computes_on_gpu() -> bool:
    """Whether the framework computes on a GPU in this process, or on what stands in for one; asking touches it."""
    return bool(os.environ.get(STAND_IN)) or _sees_gpu()


def _sees_gpu() -> bool:
    if backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    try:
        return bool(jax.default_backend() == "gpu")
    except RuntimeError:
        # JAX_PLATFORMS names a GPU alone, and there is none.
        return False


def why_no_gpu(log: str) -> symptoms.Cause:
    """Return why the framework computes on the CPU though there is a GPU.

    Args:
        log: of the child that tried.
    """
    if backend() == "tensorflow":
        return symptoms.why_no_gpu(log, installed=bool(library_folders()))
    if find_spec("jax_plugins") is None:
        return symptoms.Cause("its CUDA plugin is not installed", "Install it: pip install 'jax[cuda12]'")
    import jax

    try:
        jax.devices("gpu")
    except RuntimeError as error:
        return symptoms.Cause(first_line(error).rstrip("."), symptoms.remedy(str(error)))
    return symptoms.Cause("it does not say why", "See what `nvidia-smi` says")


def allocator_peak() -> int | None:
    """Return the most bytes in use at once, by the framework's own allocator on its first device, or None."""
    if backend() == "tensorflow":
        import tensorflow as tf

        device = "GPU:0" if _sees_gpu() else "CPU:0"
        try:
            return int(tf.config.experimental.get_memory_info(device)["peak"])
        except ValueError:
            return None
    return _statistics().get("peak_bytes_in_use")


def pool_bytes(log: Path) -> int | None:
    """Return the most bytes that the framework's allocator has taken in this process, whose output is in `log`."""
    return symptoms.pool_bytes(log) if backend() == "tensorflow" else _statistics().get("peak_pool_bytes")


def _statistics() -> dict[str, int]:
    import jax

    return jax.local_devices()[0].memory_stats() or {}


def train_something() -> None:
    """Train a small convolutional network for a step, at two batch sizes, and let it answer.

    So a process comes to hold what every trial does beside its allocator: cuDNN, cuBLAS, compiled kernels.
    """
    import keras
    import numpy as np

    layers = [
        *(keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.MaxPooling2D()),
        *(keras.layers.Conv2D(32, 3), keras.layers.BatchNormalization()),
        *(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation="softmax")),
    ]
    model = keras.Sequential([keras.Input((32, 32, 1)), *layers])
    model.compile("adam", "categorical_crossentropy")
    for size in (8, 16):
        crops = np.ones((size, 32, 32, 1), np.float32)
        model.train_on_batch(crops, np.eye(10, dtype=np.float32)[np.arange(size) % 10])
        model.predict_on_batch(crops)
