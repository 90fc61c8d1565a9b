"""Worker processes: none is left behind, none runs the parent's program, and one that dies is an error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from harness.errors import DataError
from harness.parallel import map_items
from harness.processes import sheltered


def double(number: int) -> int:
    return 2 * number


def die(path: Path) -> None:
    os._exit(9)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_stand_in_order_and_progress_counts_up(workers: int) -> None:
    seen: list[tuple[int, int]] = []
    found = map_items(double, range(9), workers=workers, progress=lambda done, total: seen.append((done, total)))
    assert found == [2 * number for number in range(9)]
    assert seen == [(done, 9) for done in range(1, 10)]


def test_a_worker_that_dies_is_an_error_that_names_its_items_and_what_to_do() -> None:
    with pytest.raises(DataError, match=r"worker process died .* one\.wav.*\. Free some memory\.$"):
        map_items(die, [Path("one.wav"), Path("two.wav")], workers=2, advice="Free some memory.")


def test_the_environment_is_left_as_it_was() -> None:
    before = dict(os.environ)
    assert set(map_items(os.getenv, ["OMP_NUM_THREADS"] * 4, workers=2)) == {"1"}
    assert dict(os.environ) == before


def test_main_is_back_when_the_last_of_overlapping_blocks_ends() -> None:
    main = sys.modules["__main__"]
    inside, left = threading.Event(), threading.Event()

    def another() -> bool:
        with sheltered():
            inside.set()
            left.wait()
            return sys.modules["__main__"] is main

    with ThreadPoolExecutor() as threads:
        with sheltered():
            seen = threads.submit(another)
            inside.wait()
        left.set()
        assert seen.result() is False
    assert sys.modules["__main__"] is main


WORK = """
import sys, threading
from pathlib import Path

def main_of(item):
    return getattr(sys.modules["__main__"], "__file__", None)

def endless(item):
    if item:
        threading.Event().wait()
"""

# Without a guard, on purpose.
UNGUARDED = """
from harness.parallel import map_items
from work import main_of

print("started", flush=True)
print(set(map_items(main_of, range(20), workers=2)), flush=True)
"""

ENDLESS = """
from harness.parallel import map_items
from work import endless

map_items(endless, [0, 1, 1, 1], workers=2, progress=lambda done, total: print(done, flush=True))
"""


def script(folder: Path, source: str) -> tuple[list[str | Path], dict[str, str]]:
    (folder / "work.py").write_text(WORK)
    (folder / "script.py").write_text(source)
    return [sys.executable, folder / "script.py"], {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_workers_do_not_run_a_script_without_a_guard_again(tmp_path: Path) -> None:
    order, environment = script(tmp_path, UNGUARDED)
    done = subprocess.run(order, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "started\n{None}\n"


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    order, environment = script(tmp_path, ENDLESS)
    with subprocess.Popen(order, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert children
    assert not psutil.wait_procs(children, timeout=20)[1]
