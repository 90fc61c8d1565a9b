"""What NVML, the NVIDIA driver's own library, says about GPUs: thin typed functions, and the only use of `pynvml`.

NvmlError
├── NoDriver           no driver answers on this machine
│   └── NoLibrary      none is installed
├── NotSupported       this GPU, or this way of sharing it, does not offer the figure
├── NoPermission       the figure is for administrators only
├── FunctionNotFound   the driver is older than the question
├── NotFound           no such GPU, process or instance
└── Lost               the GPU fell off the bus, or needs a reset

These errors are answers for `device` and `meter`, which turn them into words; a user never meets one. NVML is opened on
first use and stays open until the process ends.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pynvml


class NvmlError(Exception):
    """NVML did not answer; the message says why, without a full stop."""


class NoDriver(NvmlError):
    """No NVIDIA driver answers on this machine."""


class NoLibrary(NoDriver):
    """No NVIDIA driver is installed, as on a machine without an NVIDIA GPU."""


class NotSupported(NvmlError):
    """This GPU, or this way of sharing it, does not offer the figure."""


class NoPermission(NvmlError):
    """The driver keeps the figure for administrators."""


class FunctionNotFound(NvmlError):
    """The driver is older than the question."""


class NotFound(NvmlError):
    """NVML knows no such GPU, process or instance."""


class Lost(NvmlError):
    """The GPU fell off the bus, or needs a reset."""


_OUTCOMES: dict[int, tuple[type[NvmlError], str]] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (NoLibrary, "no NVIDIA driver was found (libnvidia-ml.so.1 does not load)"),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (NoDriver, "the NVIDIA driver is installed, but not loaded"),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        NoDriver,
        "the NVIDIA driver was updated while an older one is still loaded, restart the machine",
    ),
    pynvml.NVML_ERROR_NOT_SUPPORTED: (NotSupported, "the driver does not offer this for this GPU"),
    pynvml.NVML_ERROR_NO_PERMISSION: (NoPermission, "the driver keeps this for administrators"),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: (FunctionNotFound, "the driver is too old to be asked this, update it"),
    pynvml.NVML_ERROR_NOT_FOUND: (NotFound, "the driver knows no such GPU or process"),
    pynvml.NVML_ERROR_INVALID_ARGUMENT: (NotFound, "the driver knows no such GPU"),
    pynvml.NVML_ERROR_GPU_NOT_FOUND: (Lost, "the GPU is gone"),
    pynvml.NVML_ERROR_GPU_IS_LOST: (Lost, "the GPU is lost: it fell off the bus"),
    pynvml.NVML_ERROR_RESET_REQUIRED: (Lost, "the GPU needs a reset"),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG instance of one.

    Attributes:
        index: place in the order of PCI buses; an instance has its GPU's.
        total_bytes: memory of the GPU or instance; None where the driver does not tell.
        partitioned: MIG mode is on, so that programs run on `instances` and never on the whole.
        instances: the MIG instances that this user may see.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int | None
    partitioned: bool = False
    instances: tuple[Gpu, ...] = ()


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        kind, message = _OUTCOMES.get(error.value, (NvmlError, f"the driver answered: {error}"))
        raise kind(message) from None


@functools.cache
def _open() -> None:
    pynvml.nvmlInit()
    atexit.register(pynvml.nvmlShutdown)


@functools.cache
def _handle(uuid: str) -> Any:
    _open()
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


@_typed_errors()
def driver_version() -> str:
    """Return the driver's version, such as `550.54.14`.

    Raises:
        NvmlError: the driver does not answer; `NoDriver` when there is none. Holds for every function here.
    """
    _open()
    return str(pynvml.nvmlSystemGetDriverVersion())


@_typed_errors()
def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs in the order of their PCI buses; those that are lost or closed to this user are left out."""
    _open()
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_NoPermission, pynvml.NVMLError_Unknown):
            found.append(_gpu(pynvml.nvmlDeviceGetHandleByIndex(index), index))
    return tuple(found)


@_typed_errors()
def gpu(uuid: str) -> Gpu:
    """Return the GPU or MIG instance with this full UUID, also one that listing does not reveal to this user.

    Raises:
        NotFound: there is none.
    """
    return _gpu(_handle(uuid), 0)


def _gpu(handle: Any, index: int) -> Gpu:
    total = None
    with suppress(pynvml.NVMLError):
        total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    partitioned, instances = False, []
    with suppress(pynvml.NVMLError):
        partitioned = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        for slot in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle) if partitioned else 0):
            with suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
                instances.append(_gpu(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot), index))
    return Gpu(
        index=index,
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        total_bytes=total,
        partitioned=partitioned,
        instances=tuple(instances),
    )


@_typed_errors()
def memory_used(uuid: str) -> int:
    """Return the bytes in use on the GPU or instance, by everyone, with what the driver keeps for itself."""
    return int(pynvml.nvmlDeviceGetMemoryInfo(_handle(uuid)).used)


@_typed_errors()
def process_memory(uuid: str) -> dict[int, int | None]:
    """Return the bytes that each compute process holds, by pid as the driver counts pids (a container's may differ).

    A value is None where the driver lists a process without its memory: under WSL, and on a GPU split by MIG.
    """
    handle = _handle(uuid)
    # Drivers 535.43 to 535.86 answer _v3 with longer entries than any other driver, so the binding misreads them.
    versions = [pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetComputeRunningProcesses_v2]
    if str(pynvml.nvmlSystemGetDriverVersion()).startswith("535."):
        versions.reverse()
    try:
        entries = versions[0](handle)
    except pynvml.NVMLError_FunctionNotFound:
        entries = versions[1](handle)
    by_instance: dict[tuple[int, int, int], int | None] = {}
    for entry in entries:
        # In a container the driver may list a process once for each of its clients, always with all that it holds.
        key = entry.pid, entry.gpuInstanceId, entry.computeInstanceId
        before, now = by_instance.get(key, 0), entry.usedGpuMemory
        by_instance[key] = None if before is None or now is None else max(before, int(now))
    held: dict[int, int | None] = {}
    for (pid, _, _), size in by_instance.items():
        before = held.get(pid, 0)
        held[pid] = None if before is None or size is None else before + size
    return held


@_typed_errors()
def is_exclusive(uuid: str) -> bool:
    """Whether the GPU's compute mode lets one process at a time use it."""
    return bool(pynvml.nvmlDeviceGetComputeMode(_handle(uuid)) == pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS)


@_typed_errors()
def persistence_is_on(uuid: str) -> bool:
    """Whether the driver stays loaded while nobody uses the GPU; else it forgets that accounting was on."""
    return bool(pynvml.nvmlDeviceGetPersistenceMode(_handle(uuid)) == pynvml.NVML_FEATURE_ENABLED)


@_typed_errors()
def compute_capability(uuid: str) -> tuple[int, int]:
    """Return the generation of the GPU as CUDA counts, major and minor: (8, 9) is Ada, (12, 0) Blackwell."""
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(_handle(uuid))
    return int(major), int(minor)


@_typed_errors()
def cuda_version() -> tuple[int, int]:
    """Return the newest version of CUDA that the driver supports, major and minor."""
    _open()
    number = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    return number // 1000, number % 1000 // 10


@_typed_errors()
def accounting_is_on(uuid: str) -> bool:
    """Whether the driver keeps the peak of every process on this GPU, also after the process has ended."""
    return bool(pynvml.nvmlDeviceGetAccountingMode(_handle(uuid)) == pynvml.NVML_FEATURE_ENABLED)


@_typed_errors()
def accounting_peak(uuid: str, pid: int) -> int | None:
    """Return the most bytes that the process has ever held on this GPU; None where the driver kept no figure.

    Raises:
        NotFound: the process never used this GPU.
    """
    peak = pynvml.nvmlDeviceGetAccountingStats(_handle(uuid), pid).maxMemoryUsage
    return None if peak is None else int(peak)
