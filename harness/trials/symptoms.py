"""What a framework says, in errors and in its log: out of memory, no GPU, what its allocator took."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.units import GIB, MIB


class Cause(NamedTuple):
    """Why a GPU is of no use, and what to do about it; both without a full stop."""

    what: str
    advice: str


TAIL_BYTES = MIB
"""The end of a log, in which the last words of a process stand; an allocator that runs out lists all of its chunks."""

_OUT_OF_MEMORY = (
    *("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "OOM when", "CUDA_ERROR_OUT_OF_MEMORY"),
    "ran out of memory",
)
# Libraries that could not get memory for themselves say other things. XLA holds that these mostly mean memory, too.
_HANDLES = (
    *("CUDNN_STATUS_ALLOC_FAILED", "CUDNN_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_INTERNAL_ERROR"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED", "Failed to create cuBlas instance"),
    *("No BLAS support in stream", "DNN library initialization failed", "No algorithm worked"),
    *("Check failed: h != kInvalidChunkHandle", "could not create a handle", "failed to create cublas handle"),
)
_MISMATCH = "but source was compiled with"
# What each kind of failure on a card asks for, by what its message holds.
_REMEDIES = (
    (
        (_MISMATCH,),
        "Another cuDNN is found first. Unset LD_LIBRARY_PATH, or remove the other cuDNN from it; one environment holds "
        "either this or PyTorch's",
    ),
    (
        ("CUDA_ERROR_INVALID_PTX", "CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_HANDLE", "no kernel image"),
        "TensorFlow was not built for this card. Where the card is newer, KERAS_BACKEND=jax with `pip install "
        "'jax[cuda12]'` may run on it (not tried)",
    ),
    (
        ("does not support target",),
        "The compiler in these CUDA libraries does not know the card. Update them, or try KERAS_BACKEND=jax with `pip "
        "install 'jax[cuda12]'` (not tried)",
    ),
    (
        ("No PTX compilation provider", "libdevice not found", "Couldn't get ptxas"),
        "nvidia-cuda-nvcc is missing: pip install -e '.[gpu]'",
    ),
    (
        ("CUDNN_STATUS_ARCH_MISMATCH", "CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH"),
        "cuDNN 9.11 and later do not run on this card: pip install 'nvidia-cudnn-cu12==9.3.0.75'",
    ),
    (
        ("all CUDA-capable devices are busy", "CUDA_ERROR_DEVICE_UNAVAILABLE"),
        "Another process has the card, whose compute mode admits one. End it, or `nvidia-smi -c DEFAULT`",
    ),
    (_OUT_OF_MEMORY, "The card has too little free memory. End what else runs on it; `nvidia-smi` lists it"),
)


def is_out_of_memory(text: str, on_gpu: bool) -> bool:
    """Whether an error, or the end of a log, tells of memory that ran out.

    Args:
        on_gpu: whether the process computed on a GPU: there, libraries that get no memory for themselves say so by
            other names.
    """
    signs = (*_OUT_OF_MEMORY, *(_HANDLES if on_gpu and _MISMATCH not in text else ()))
    # An allocator also says where it does without.
    lines = [line for line in text.splitlines() if "not a failure" not in line]
    return any(sign in line for line in lines for sign in signs)


def remedy(text: str) -> str:
    """Return what helps against a failure of a GPU, without a full stop."""
    known = (help for signs, help in _REMEDIES if any(sign in text for sign in signs))
    return next(known, "See what `nvidia-smi` says")


def why_no_gpu(text: str, installed: bool) -> Cause:
    """Return why TensorFlow found no GPU, by its log.

    Args:
        installed: whether NVIDIA's CUDA libraries lie in this environment.
    """
    missing = re.findall(r"Could not load dynamic library '([^']+)'", text)
    missing = [name for name in dict.fromkeys(missing) if "nvinfer" not in name]
    if "libcuda.so.1" in missing:
        return Cause(
            "it cannot load libcuda.so.1, which comes with the NVIDIA driver",
            "In a container, start it with `--gpus all`; elsewhere install the driver anew (WSL: that of Windows)",
        )
    if missing:
        return Cause(
            f"it cannot load {', '.join(missing)}",
            "Install the CUDA libraries: pip install -e '.[gpu]'; where they are installed, unset LD_LIBRARY_PATH",
        )
    if found := re.search(r"failed call to cuInit: (.*)", text, re.IGNORECASE):
        return Cause(
            f"CUDA does not start ({found[1].strip()})",
            "Update the NVIDIA driver to 525 or later; in a container, start it with `--gpus all`; else see who may "
            "open /dev/nvidia*",
        )
    if found := re.search(r"Ignoring visible gpu device .*compute capability:? *([0-9.]+[0-9])", text, re.IGNORECASE):
        return Cause(f"it does not run on a card of compute capability {found[1]}", "Pass --device cpu")
    if "driver version is insufficient" in text:
        return Cause("the NVIDIA driver is too old", "Update it to 525 or later")
    if not installed:
        return Cause("its CUDA libraries are not installed", "Install them: pip install -e '.[gpu]'")
    return Cause("it does not say why", "See what `nvidia-smi` says")


def tail(log: Path) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def pool_bytes(log: Path) -> int | None:
    """Return the most that TensorFlow's allocator had taken, by `TF_CPP_VMODULE=bfc_allocator=1` in a child's log.

    On a GPU its own allocator counts, and not those of main memory that are there for copies. None where the log does
    not tell, as on JAX.
    """
    taken = list(_regions(log))
    on_gpu = [size for name, size in taken if name.startswith("GPU_")]
    return max(on_gpu or [size for _, size in taken], default=None)


def _regions(log: Path) -> Iterator[tuple[str, int]]:
    units = {"KiB": 1024, "MiB": MIB, "GiB": GIB, "B": 1}
    name = ""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if found := re.search(r"Extending allocation by \S+ bytes for (\S+?)\.?$", line.rstrip()):
                    name = found[1]
                elif found := re.search(r"Total allocated bytes: ([\d.]+)(KiB|MiB|GiB|B)", line):
                    yield name, round(float(found[1]) * units[found[2]])
    except OSError:
        return
