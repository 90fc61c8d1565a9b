"""What the benchmarks of peers share; the peers themselves live in an environment of their own."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import figures, task
from tests.helpers.command import ROOT


def test_versions_are_those_of_the_lock() -> None:
    pinned = re.compile(r"^([\w-]+)(?:\[\w+\])?==([\w.]+)", re.MULTILINE)
    peers = dict(pinned.findall((ROOT / "benchmarks" / "peers" / "requirements.txt").read_text()))
    lock = dict(pinned.findall((ROOT / "requirements.lock").read_text()))
    assert {"tensorflow", "keras", "optuna", "mlflow", "librosa"} <= peers.keys() & lock.keys()
    assert {name: version for name, version in peers.items() if lock.get(name, version) != version} == {}


def test_standard_output_has_one_line_whatever_a_contender_prints(capsys: pytest.CaptureFixture[str]) -> None:
    def contender() -> figures.Figures:
        print("trial 1")
        return {"trials": 1}

    figures.report(contender)
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (out.count("\n"), err) == (1, "trial 1\n")
    assert said["trials"] == 1
    assert min(said["cpu_seconds"], said["wall_seconds"]) > 0
    assert said["peak_rss_bytes"] > 2**20


def test_the_first_value_pays_for_what_is_made_once() -> None:
    assert figures.later_median([9.0, 1.0, 3.0, 2.0]) == 2.0
    assert figures.later_median([9.0]) == 9.0


@pytest.mark.parametrize("name", ["cnn2d-mfcc", "cnn1d-raw"])
def test_crops_are_read_as_they_were_saved(name: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    task.add_options(parser)
    shape = task.find_family(name).input_spec.shape
    crops = task.noise(shape, crops=15, genres=3)
    crops.save(tmp_path / "unfinished")
    given = task.from_options(parser.parse_args(["--family", name, "--crops", str(tmp_path / "unfinished")]))
    assert given.crops.genres == 3
    assert all(np.array_equal(value, vars(given.crops)[key]) for key, value in vars(crops).items())
    assert given.arrays["x"].shape == (12, *shape)
    assert given.arrays["y"].argmax(axis=1).tolist() == [0, 1, 2] * 4
    assert [part.shape for part in given.arrays["validation_data"]] == [(3, *shape), (3, 3)]
    assert crops.mean.shape == (given.family.input_spec.rows,)
