"""Which framework Keras runs on, its versions, and what it must be told before it is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError

STAND_IN = "HARNESS_STAND_IN"
"""Where this variable is set, the CPU computes in the place of a GPU that the driver shows: for tests alone."""

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
        **CAPPED,
        # Only this allocator counts what it holds on a CPU; it also spares the page faults of malloc.
        "TF_CPU_ALLOCATOR_USE_BFC": "1",
        # The fork server must have no threads but its own when it forks.
        **ONE_THREAD,
        **_library_path(os.environ),
    }


CAPPED = {"TF_GPU_ALLOCATOR": "", "XLA_PYTHON_CLIENT_ALLOCATOR": "default", "TF_FORCE_UNIFIED_MEMORY": "false"}
"""With other values than these of a user's, the framework's allocator would not stop at its cap."""

LOGGED = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "bfc_allocator=1,dso_loader=1"}
"""What makes TensorFlow write into a child's log what its allocator takes, and which library it does not find."""

NO_GPU = "-1"
"""What `CUDA_VISIBLE_DEVICES` names where there is nothing to see."""

HIDDEN_GPU = {"CUDA_VISIBLE_DEVICES": NO_GPU}
"""What hides every GPU from a child of the fork server."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread of linear algebra for a process; it is read when numpy is imported."""

CHILD_CPU = {
    **HIDDEN_GPU,
    "JAX_PLATFORMS": "cpu",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
"""What a child that computes on one processor sets before it imports a framework: it sees no GPU."""

FRACTIONS = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
"""JAX goes on without its GPU where both are set; the first is deprecated."""


def overridden(environ: Mapping[str, str]) -> list[str]:
    """Return the variables of a user's, by name, that would undo the cap, and are therefore set anew in children."""
    changed = [name for name, value in CAPPED.items() if environ.get(name, value) != value]
    return changed + [name for name in FRACTIONS if name in environ]


def _library_path(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable by which the loader finds NVIDIA's libraries that pip installed; nothing without them.

    The wheel of TensorFlow 2.21 names their folders in its run path, but for that of cuSOLVER, without which it
    computes on the CPU.
    """
    before = environ.get("LD_LIBRARY_PATH", "")
    new = [folder for folder in library_folders() if folder not in before.split(":")]
    return {"LD_LIBRARY_PATH": ":".join([*new, *filter(None, [before])])} if new else {}


def library_folders() -> list[str]:
    """Return the folders of NVIDIA's libraries that pip installed."""
    found = find_spec("nvidia")
    roots = found.submodule_search_locations if found is not None else None
    return sorted(str(folder) for root in roots or () for folder in Path(root).glob("*/lib") if folder.is_dir())
