"""A study's name says which trials belong together, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.families import Family
from harness.features.input_spec import InputSpec
from harness.records.study import DatasetRecord, ProtocolRecord, StudyRecord
from harness.search.identity import study_record
from harness.settings import RunSettings
from harness.testing.records import FAMILY, RECORD
from harness.units import GIB


def record(
    family: Family = FAMILY,
    dataset: DatasetRecord = RECORD.dataset,
    protocol: ProtocolRecord = RECORD.protocol,
    **settings: Any,
) -> StudyRecord:
    chosen = RunSettings(**settings)
    return study_record(family, dataset, protocol, RECORD.provenance, chosen.search, chosen.budget.vram_budget)


def name(**settings: Any) -> str:
    return record(**settings).name


def test_a_study_keeps_its_name_from_version_to_version() -> None:
    assert name() == "made-up-22705266"
    assert name(quick=True, epochs=4, seed=3) == "made-up-20668c29"


@pytest.mark.parametrize("settings", [{"vram_budget": GIB}, {"epochs": 5}, {"seed": 1}])
def test_what_changes_scores_makes_another_study(settings: dict[str, Any]) -> None:
    assert name(**settings) != name()


def test_other_tracks_or_another_split_make_another_study() -> None:
    dataset = RECORD.dataset.model_copy(update={"fingerprint": "other"})
    protocol = RECORD.protocol.model_copy(update={"fingerprint": "other"})
    moved = record(dataset=dataset)
    split = record(protocol=protocol)
    assert len({moved.name, split.name, name()}) == 3


def test_a_run_that_is_longer_or_elsewhere_goes_on_with_the_study() -> None:
    assert name(trials=99, jobs=2, device="cpu", trial_time_limit=60) == name()


def test_other_weights_of_an_embedding_make_another_study() -> None:
    def embedded(source: str) -> str:
        family = replace(FAMILY, embeddings={"net": InputSpec("net", "embedding", 0, 3, 4, source)})
        return record(family).name

    assert len({embedded("weights"), embedded("others"), name()}) == 3
