"""What children are told before they import the framework, so that it finds its GPU and stops at its cap."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import keras_backend

REQUIRED = ("cuda_runtime", "cublas", "cufft", "cusolver", "cusparse", "cudnn")
"""What TensorFlow loads before it accepts a GPU, by the packages of NVIDIA's that hold it."""


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """NVIDIA's packages as pip installs them, with one real library: an empty libcusolver."""
    root = tmp_path / "site" / "nvidia"
    for name in REQUIRED:
        (root / name / "lib").mkdir(parents=True)
    library = root / "cusolver" / "lib" / "libcusolver.so.11"
    subprocess.run(["gcc", "-shared", "-x", "c", os.devnull, "-o", library], check=True)
    monkeypatch.syspath_prepend(str(root.parent))
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    return root


def test_without_nvidias_packages_the_loaders_path_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_backend, "find_spec", lambda name: None)
    assert "LD_LIBRARY_PATH" not in keras_backend.environment()


def test_the_loader_finds_what_pip_installed_before_anything_else(
    nvidia: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda/lib64")
    path = keras_backend.environment()["LD_LIBRARY_PATH"].split(":")
    assert path == [*sorted(str(nvidia / name / "lib") for name in REQUIRED), "/usr/local/cuda/lib64"]
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(path))
    assert "LD_LIBRARY_PATH" not in keras_backend.environment(), "a second pool adds nothing"


def test_a_process_with_these_variables_loads_cusolver(nvidia: Path) -> None:
    with pytest.raises(OSError, match=r"libcusolver.so.11"):
        ctypes.CDLL("libcusolver.so.11")
    command = [sys.executable, "-c", "import ctypes; ctypes.CDLL('libcusolver.so.11')"]
    subprocess.run(command, env={**os.environ, **keras_backend.environment()}, check=True)


def test_every_library_that_tensorflow_checks_for_is_within_reach(nvidia: Path) -> None:
    """By the run path of the installed wheel, or by our variable: the wheel of 2.21 forgets cuSOLVER."""
    found = find_spec("tensorflow")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).with_name("libtensorflow_framework.so.2")
    told = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    (run_path,) = [line for line in told.splitlines() if "RUNPATH" in line]
    named = [name for name in REQUIRED if f"/nvidia/{name}/lib" in run_path]
    added = keras_backend.environment()["LD_LIBRARY_PATH"]
    assert named, "the run path is not read rightly"
    assert [name for name in REQUIRED if name not in named and f"/nvidia/{name}/lib" not in added] == []


def test_what_would_undo_the_cap_is_set_anew_and_named() -> None:
    user = {
        "TF_GPU_ALLOCATOR": "cuda_malloc_async",
        "XLA_PYTHON_CLIENT_ALLOCATOR": "platform",
        "TF_FORCE_UNIFIED_MEMORY": "1",
        "XLA_CLIENT_MEM_FRACTION": ".9",
        "PATH": "/bin",
    }
    assert keras_backend.overridden(user) == [name for name in user if name != "PATH"]
    assert keras_backend.overridden({**user, **keras_backend.environment()}) == ["XLA_CLIENT_MEM_FRACTION"]
    told = keras_backend.environment()
    assert told["TF_GPU_ALLOCATOR"] == ""
    assert told["XLA_PYTHON_CLIENT_ALLOCATOR"] == "default"
    assert told["TF_FORCE_UNIFIED_MEMORY"] == "false"
    assert told["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


JAX = """
import os
from harness.trials import framework
framework.prepare(1, False, 0, cap_bytes=3 * 2**30, device_bytes=8 * 2**30)
print(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION"), os.environ["XLA_CLIENT_MEM_FRACTION"])
framework.prepare(1, False, 0, cap_bytes=2**28, device_bytes=None)
print(0 < float(os.environ["XLA_CLIENT_MEM_FRACTION"]) < 1)
framework.hide_devices()
import jax
print(jax.config.jax_platforms, framework.computes_on_gpu())
"""


@pytest.mark.slow
def test_on_jax_the_cap_is_a_share_of_the_card_or_of_the_machine() -> None:
    """Imports JAX."""
    user = {"XLA_PYTHON_CLIENT_MEM_FRACTION": ".5", "XLA_CLIENT_MEM_FRACTION": ".9", "KERAS_BACKEND": "jax"}
    result = subprocess.run([sys.executable, "-c", JAX], env=os.environ | user, capture_output=True, text=True)
    assert result.stdout.splitlines() == ["None 0.375000", "True", "cpu False"], result.stderr
