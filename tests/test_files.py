"""A place that cannot be written is an error of ours, which says where, why and what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.errors import WorkspaceError
from harness.files import replacing, write_atomically, writing
from tests.helpers.command import ROOT

FULL, MADE = "Free some space; the same command goes on", "Make that place writable, or name another; the same"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), rf"^a/b: cannot be written \(No space left .*\)\. {FULL}"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), rf"\(Disk quota exceeded\)\. {FULL}"),
        # So NumPy says that a disk is full.
        (OSError("4000 requested and 1536 written"), rf"\(4000 requested and 1536 written\)\. {FULL}"),
        (OSError(errno.EROFS, "Read-only file system"), rf"\(Read-only file system\)\. {MADE}"),
    ],
)
def test_an_error_of_the_system_says_what_to_do(error: OSError, message: str) -> None:
    with pytest.raises(WorkspaceError, match=message), writing(Path("a/b")):
        raise error


def test_a_folder_that_cannot_be_made_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match=rf"^{tmp_path}/file/x/y\.json: cannot be written \(Not a directory\)"):
        write_atomically(tmp_path / "file" / "x" / "y.json", "{}")

    def fill(unfinished: Path) -> None:
        np.save(unfinished, np.zeros(3))
        raise OSError("24 requested and 0 written")

    place = tmp_path / "array.npy"
    with pytest.raises(WorkspaceError, match=r"array\.npy: cannot be written"), replacing(place) as unfinished:
        fill(unfinished)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


WRITERS = """
import resource, sys
from pathlib import Path
from harness.errors import WorkspaceError
from harness.features.store import FeatureStore
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace
from reports.write import write_markdown
from tests.helpers.ledger import PREDICTIONS, STUDY, completed
from tests.helpers.reports import make_results, without_predictions
import numpy as np

place = Workspace(Path(sys.argv[1]))
ledger, store, results = Ledger(place), FeatureStore(place.store), without_predictions(make_results())
ledger.open_study(STUDY)

def lock():
    with place.lock():
        raise AssertionError

writers = {
    "trial": lambda: ledger.write_trial(completed(0), PREDICTIONS),
    "failed trial": lambda: ledger.write_trial(completed(1), None),
    "settings": lambda: ledger.write_settings(STUDY.name, RunSettings(families=("cnn2d-mfcc",))),
    "files": lambda: ledger.write_importance(STUDY.name, {"a": 1.0}, 2),
    "owner": ledger.owner,
    "store": lambda: store.put("0a1b", np.zeros((187, 3), np.float32), np.zeros(1024, np.int16)),
    "report": lambda: write_markdown(results, place.report),
    "lock": lock,
}
# Python ignores the signal, so a file that grows is an error like that of a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for name, write in writers.items():
    try:
        write()
        print(name, "was written")
    except WorkspaceError as error:
        print(name, error, sep=": ")
assert ledger.trials(STUDY.name) == ()
"""


def test_on_a_full_disk_every_part_of_a_workspace_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    order = [sys.executable, "-c", WRITERS, tmp_path]
    done = subprocess.run(order, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert f": {tmp_path}/" in line
        assert f"{FULL}, and what is there is kept." in line
    assert not list(tmp_path.rglob("*.tmp*"))
