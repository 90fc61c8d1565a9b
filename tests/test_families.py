"""What every installed family promises, whoever wrote it."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

import harness.families as families_module
from harness.errors import FamilyError
from harness.families import Family, families, select
from harness.search.space import distributions, points, space_hash
from tests.helpers.command import ROOT, program
from tests.helpers.models import noise, shapes, small

FAMILIES = families()
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@every_family
def test_it_is_called_as_its_entry_point_is(family: Family) -> None:
    assert FAMILIES[family.name] is family
    assert family.description


@every_family
@pytest.mark.parametrize("quick", [False, True])
def test_the_baseline_is_a_point_of_the_space(family: Family, quick: bool) -> None:
    # A value outside of its range warns, and a warning is an error here.
    trial = FixedTrial(dict(family.baseline))
    assert family.space(trial, quick) == family.baseline
    assert trial.params == family.baseline


@every_family
def test_the_quick_space_lies_within_the_full_one(family: Family) -> None:
    full = distributions(family, quick=False)
    for name, narrow in distributions(family, quick=True).items():
        wide = full[name]
        assert type(narrow) is type(wide), name
        if isinstance(wide, CategoricalDistribution):
            assert isinstance(narrow, CategoricalDistribution)
            assert set(narrow.choices) <= set(wide.choices), name
        else:
            assert isinstance(wide, FloatDistribution | IntDistribution)
            assert isinstance(narrow, FloatDistribution | IntDistribution)
            assert wide.low <= narrow.low <= narrow.high <= wide.high, name


@every_family
@pytest.mark.parametrize("quick", [False, True])
def test_a_configuration_is_what_was_suggested(family: Family, quick: bool) -> None:
    # A trial's parameters are all that is stored of it, and a final training needs no more.
    for config, _ in points(family, quick, count=20):
        trial = FixedTrial(dict(config))
        assert family.space(trial, quick) == config
        assert trial.params == config


@every_family
def test_it_says_whether_it_trains_on_variants(family: Family) -> None:
    assert ("variant_share" in distributions(family, quick=False)) is family.uses_augmented_copies
    assert "variant_share" not in distributions(family, quick=True)


@every_family
def test_the_identity_of_a_space_is_its_ranges(family: Family) -> None:
    assert space_hash(family, quick=False) == space_hash(family, quick=False)
    assert space_hash(family, quick=False) != space_hash(family, quick=True)
    # The hash tells spaces apart, not names of families.
    assert space_hash(replace(family, space=lambda trial, quick: family.space(trial, True)), False) == space_hash(
        family, quick=True
    )


def test_a_mistyped_name_brings_a_suggestion() -> None:
    with pytest.raises(FamilyError, match="'cnn2d-fusion'"):
        select(["cnn2-fusion"])
    with pytest.raises(FamilyError, match=r"no family is called 'svm'\. There are: .*cnn1d-raw.*, or all"):
        select(["svm"])
    with pytest.raises(FamilyError, match="no family was named"):
        select([])


def test_families_come_in_the_order_asked_for_and_once() -> None:
    assert [family.name for family in select(["cnn2d-mfcc", "cnn1d-raw", "cnn2d-mfcc"])] == ["cnn2d-mfcc", "cnn1d-raw"]
    assert {family.name for family in select(["all"])} == {
        name for name, family in FAMILIES.items() if not family.optional
    }


def named(name: str, value: object) -> EntryPoint:
    """An entry point that loads `value`, or raises it."""

    class Fake(EntryPoint):
        def load(self) -> object:
            if isinstance(value, Exception):
                raise value
            return value

    return Fake(name, f"package.{name}:FAMILY", families_module.GROUP)


def test_all_leaves_optional_families_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = replace(FAMILIES["cnn2d-mfcc"], name="plain")
    entries = [named("plain", plain), named("huge", replace(plain, name="huge", optional=True))]
    monkeypatch.setattr(families_module, "entry_points", lambda group: entries)
    assert [family.name for family in select(["all"])] == ["plain"]
    assert [family.name for family in select(["all", "huge"])] == ["plain", "huge"]


@pytest.mark.parametrize("value", [ImportError("no module named 'torch'"), "not a family"])
def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    monkeypatch.setattr(families_module, "entry_points", lambda group: [named("theirs", value)])
    with pytest.raises(FamilyError, match=r"family 'theirs'.*package\.theirs:FAMILY.*package"):
        families()


def test_a_broken_package_is_no_matter_to_whoever_names_others(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [named("cnn2d-mfcc", FAMILIES["cnn2d-mfcc"]), named("theirs", ImportError("no module named 'torch'"))]
    monkeypatch.setattr(families_module, "entry_points", lambda group: entries)
    assert select(["cnn2d-mfcc"]) == (FAMILIES["cnn2d-mfcc"],)
    for names in (["theirs"], ["all"]):
        with pytest.raises(FamilyError, match="'theirs'"):
            select(names)


@pytest.fixture(scope="module")
def jax_steps() -> Iterator[subprocess.Popen[str]]:
    """Every family trains on JAX, in a process of its own: one process has one back end."""
    # Compiling takes longer than the few steps do, so it need not be done well.
    hasty = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": hasty}
    with subprocess.Popen(
        program("jax_steps"), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.mark.slow
@every_family
@pytest.mark.usefixtures("jax_steps")  # which goes on meanwhile
def test_it_learns_twenty_crops_by_heart(family: Family, keras: ModuleType) -> None:
    """Trains: a network that cannot learn twenty crops of noise by heart has a gradient that does not flow."""
    from harness.trials.training.optimizer import compile_model

    keras.utils.set_random_seed(0)
    config = small(family)
    model = family.build(config, shapes(family))
    compile_model(model, config, updates=100, accumulation=1)
    inputs, labels = noise(family, 20)
    for _ in range(30):
        model.fit(inputs, labels, batch_size=10, epochs=5, verbose=0)
        answers = model.predict(inputs, batch_size=10, verbose=0)
        if (answers.argmax(axis=1) == labels.argmax(axis=1)).all():
            break
    np.testing.assert_array_equal(answers.argmax(axis=1), labels.argmax(axis=1))
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("keras")  # so that it stands behind the tests that go on meanwhile
def test_every_family_trains_on_jax_without_tensorflow(jax_steps: subprocess.Popen[str]) -> None:
    """Trains, in the fixture's process."""
    pytest.importorskip("jax")
    out, err = jax_steps.communicate()
    assert jax_steps.returncode == 0, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["tensorflow"] is False
    assert answer["losses"].keys() == FAMILIES.keys()
    for losses in answer["losses"].values():
        assert all(map(math.isfinite, losses))
        assert len(set(losses)) > 1
