"""What the slow tests share; the framework is imported at most once in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from harness.datasets.scan import scan
from harness.features.fold import LabelledTrack
from harness.features.store import FeatureStore
from harness.testing.nvml_stub.driver import Driver, build
from tests.helpers.audio import write_tones
from tests.helpers.browser import Browser, serving
from tests.helpers.command import Benchmark, search
from tests.helpers.models import ToneStore


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what imports the framework last: its threads must not be there when another test forks a process."""
    items.sort(key=lambda item: "keras" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    """Keras on TensorFlow, imported into this process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # As in children: another allocator does not count what it holds.
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    import keras

    return keras


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A process that sees a stand-in for the NVIDIA driver."""
    folder = tmp_path_factory.mktemp("driver") / "current"
    build(folder)
    driver = Driver.start(folder)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def chromium() -> None:
    """A browser is installed; where it is not, what needs one is skipped, but not in continuous integration."""
    if absent := [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]:
        reason = f"not installed: {', '.join(absent)} (Debian: apt-get install chromium chromium-driver)"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(chromium: None) -> Iterator[Browser]:
    with closing(Browser()) as browser:
        yield browser


@pytest.fixture(scope="session")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose studies, trials and finals are in its MLflow store: see `tests.helpers.mlflow.deliver`."""
    from tests.helpers.mlflow import deliver  # which imports MLflow

    return deliver(tmp_path_factory.mktemp("delivered"))


@pytest.fixture(scope="session")
def ui(delivered: Path) -> Iterator[dict[str, str]]:
    """The addresses that `harness ui` prints for that workspace."""
    with serving(delivered) as said:
        yield said


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that is easy to learn: four genres of five tracks of 4 s, each genre with a pitch of its own."""
    return write_tones(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture(scope="session")
def tone_store(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> ToneStore:
    """The root of a store that holds the tones, and the tracks in it."""
    data = scan(tones, workers=1)
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    store.prepare(data.tracks, workers=1)
    return store.root, tuple(
        LabelledTrack(track.id, track.digest, data.genres.index(track.genre)) for track in data.tracks
    )


@pytest.fixture(scope="session")
def benchmark(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """What `harness run` makes of the tones, run three times in one workspace."""
    return search(tones, tmp_path_factory.mktemp("benchmark") / "workspace")
