"""The only place that knows which framework Keras runs on: environment, memory, determinism, errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from harness.errors import UsageError

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax"}
"""Keras back ends that the harness runs on, and the distribution that provides each."""


def backend(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the Keras back end that `KERAS_BACKEND` asks for; tensorflow unless told otherwise."""
    return environ.get("KERAS_BACKEND") or "tensorflow"


def check_backend() -> str:
    """Return the name of the back end.

    Raises:
        UsageError: the harness does not run on it, or it is not installed.
    """
    name = backend()
    if name not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND={name}: not one of {', '.join(BACKENDS)}. Set one of them, or unset it.")
    if find_spec(BACKENDS[name]) is None:
        raise UsageError(
            f"KERAS_BACKEND={name}: {BACKENDS[name]} is not installed. Install it with: pip install {BACKENDS[name]}"
        )
    return name


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on, by distribution; absent ones are left out."""
    names = ("harness", "keras", BACKENDS.get(backend(), backend()), "numpy", "librosa", "optuna", "scikit-learn")
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Return the variables that must be set before the framework is imported."""
    return {
        "KERAS_BACKEND": backend(),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # NVML must see what a trial needs, not what an allocator grabbed in advance.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # Only this allocator counts what it holds on a CPU; it also spares the page faults of malloc.
        "TF_CPU_ALLOCATOR_USE_BFC": "1",
        # The fork server must have no threads but its own when it forks.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


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
        if cap_bytes is not None and (gpus := tf.config.list_physical_devices("GPU")):
            # Growth comes from TF_FORCE_GPU_ALLOW_GROWTH: the option for it and a limit exclude each other.
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=cap_bytes // 2**20)
            tf.config.set_logical_device_configuration(gpus[0], [limit])
    else:
        if deterministic:
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        if cap_bytes is not None and device_bytes:
            os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, cap_bytes / device_bytes):.4f}"
    import keras

    keras.utils.set_random_seed(seed)


def sees_gpu() -> bool:
    """Whether the framework computes on a GPU in this process; asking touches the device."""
    if backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return bool(jax.default_backend() == "gpu")


def allocator_peak() -> int | None:
    """Return the most bytes that the framework's own allocator held on its first device, or None."""
    if backend() == "tensorflow":
        import tensorflow as tf

        device = "GPU:0" if sees_gpu() else "CPU:0"
        try:
            return int(tf.config.experimental.get_memory_info(device)["peak"])
        except ValueError:
            return None
    if backend() == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a device out of memory: TensorFlow and XLA both say RESOURCE_EXHAUSTED."""
    text = f"{type(error).__name__} {error}"
    return any(sign in text for sign in ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "OOM when"))
