"""What is read out of a framework's errors and logs; the texts are those of TensorFlow 2.21, XLA and libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.trials.symptoms import is_out_of_memory, pool_bytes, remedy, tail, why_no_gpu
from harness.units import GIB, MIB


@pytest.mark.parametrize(
    "text",
    [
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes",
        "OOM when allocating tensor with shape[64,128]",
        "ResourceExhaustedError failed to allocate",
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "MemoryError: out of memory",
    ],
)
def test_out_of_memory_is_known_on_every_device(text: str) -> None:
    assert is_out_of_memory(text, on_gpu=True)
    assert is_out_of_memory(text, on_gpu=False)


@pytest.mark.parametrize(
    "text",
    [
        "INTERNAL: cudnn library could not create a handle: CUDNN_STATUS_ALLOC_FAILED",
        "INTERNAL: cudnn library could not create a handle: CUDNN_STATUS_NOT_INITIALIZED",
        "CUDNN_STATUS_INTERNAL_ERROR",
        "FAILED_PRECONDITION: DNN library initialization failed.",
        "failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED",
        "Failed to create cuBlas instance.",
        "No BLAS support in stream.",
        "NOT_FOUND: No algorithm worked!  Error messages:",
        "Check failed: h != kInvalidChunkHandle",
    ],
)
def test_libraries_of_a_gpu_have_names_of_their_own_for_it(text: str) -> None:
    assert is_out_of_memory(text, on_gpu=True)
    assert not is_out_of_memory(text, on_gpu=False)


def test_other_errors_are_no_want_of_memory() -> None:
    assert not is_out_of_memory("ValueError: shapes do not match", on_gpu=True)
    older = "Loaded runtime CuDNN library: 9.1.0 but source was compiled with: 9.3.0. DNN library initialization failed"
    assert not is_out_of_memory(older, on_gpu=True)


@pytest.mark.parametrize(
    ("text", "what", "advice"),
    [
        (
            "I0 dso_loader.cc:1 Could not load dynamic library 'libcusolver.so.11'; dlerror: libcusolver.so.11\n"
            "W0 gpu_device.cc:2 Cannot dlopen some GPU libraries.",
            "it cannot load libcusolver.so.11",
            "pip install -e '.[gpu]'",
        ),
        (
            "Could not load dynamic library 'libcuda.so.1'; dlerror: libcuda.so.1: cannot open shared object file",
            "it cannot load libcuda.so.1, which comes with the NVIDIA driver",
            "--gpus all",
        ),
        (
            "E0 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: system has unsupported driver",
            "CUDA does not start (INTERNAL: CUDA error: system has unsupported driver)",
            "driver to 525",
        ),
        ("", "it does not say why", "nvidia-smi"),
    ],
)
def test_a_log_tells_why_there_is_no_gpu(text: str, what: str, advice: str) -> None:
    cause = why_no_gpu(text, installed=True)
    assert cause.what == what
    assert advice in cause.advice


def test_libraries_that_are_not_installed_are_asked_for() -> None:
    cause = why_no_gpu("", installed=False)
    assert cause.what == "its CUDA libraries are not installed"
    assert "pip install -e '.[gpu]'" in cause.advice


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Loaded runtime CuDNN library: 9.1.0 but source was compiled with: 9.3.0", "Another cuDNN is found first"),
        ("CUDA_ERROR_INVALID_PTX", "was not built for this card"),
        ("LLVM ERROR: PTX version 8.5 does not support target 'sm_120'", "does not know the card"),
        ("UNAVAILABLE: No PTX compilation provider is available", "pip install -e '.[gpu]'"),
        ("CUDNN_STATUS_ARCH_MISMATCH", "nvidia-cudnn-cu12==9.3.0.75"),
        ("all CUDA-capable devices are busy or unavailable", "nvidia-smi -c DEFAULT"),
        ("OOM when allocating", "too little free memory"),
        ("something new", "nvidia-smi"),
    ],
)
def test_a_failure_comes_with_what_helps(text: str, advice: str) -> None:
    assert advice in remedy(text)


GROWN = """\
I0000 bfc_allocator.cc:89] Creating new BFCAllocator named: GPU_0_bfc
I0000 bfc_allocator.cc:176] Extending allocation by 2.00MiB bytes for GPU_0_bfc.
I0000 bfc_allocator.cc:183] Total allocated bytes: 2.00MiB
I0000 bfc_allocator.cc:176] Extending allocation by 64.00MiB bytes for gpu_host_bfc.
I0000 bfc_allocator.cc:183] Total allocated bytes: 64.00MiB
I0000 bfc_allocator.cc:176] Extending allocation by 1.50GiB bytes for GPU_0_bfc.
I0000 bfc_allocator.cc:183] Total allocated bytes: 1.50GiB
"""


def test_what_the_allocator_took_is_read_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(GROWN)
    assert pool_bytes(log) == 1.5 * GIB
    log.write_text(GROWN.replace("GPU_0_bfc", "cpu"))
    assert pool_bytes(log) == 1.5 * GIB
    log.write_text("\n".join(GROWN.splitlines()[3:5]))
    assert pool_bytes(log) == 64 * MIB
    log.write_text("nothing of the kind")
    assert pool_bytes(log) is None
    assert pool_bytes(tmp_path / "none") is None
    assert tail(tmp_path / "none") == ""
