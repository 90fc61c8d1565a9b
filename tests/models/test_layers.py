"""What the layers do to examples in training, and that they leave them alone otherwise."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from harness.families import families
from tests.helpers.models import shapes, small

pytestmark = pytest.mark.slow


def test_a_wave_is_turned_scaled_and_shifted_round_its_ends(keras: ModuleType) -> None:
    """Imports Keras."""
    from harness.models.layers import WaveAugment

    waves = np.tile(np.arange(1, 11, dtype=np.float32)[None, :, None], (64, 1, 1))
    layer = WaveAugment(0.0, shift=3)
    np.testing.assert_array_equal(layer(waves), waves)
    changed = np.asarray(layer(waves, training=True))[..., 0]
    expected = {shift: np.roll(waves[0, :, 0], shift) for shift in range(-3, 4)}
    found = {shift for wave in changed for shift, rolled in expected.items() if np.array_equal(np.abs(wave), rolled)}
    assert found == set(range(-3, 4))
    assert all(len(set(np.sign(wave))) == 1 for wave in changed)
    assert set(np.sign(changed[:, 0])) == {-1, 1}

    louder = np.abs(np.asarray(WaveAugment(6.0)(waves, training=True))[:, 0, 0])
    assert 10 ** (-6 / 20) <= louder.min() < 1 < louder.max() <= 10 ** (6 / 20)


def test_stochastic_depth_drops_whole_branches_and_keeps_their_mean(keras: ModuleType) -> None:
    """Imports Keras."""
    from harness.models.layers import drop_path

    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, drop_path(inputs, 0.2))
    ones = np.ones((2000, 5, 3), np.float32)
    np.testing.assert_array_equal(model(ones), ones)
    dropped = np.asarray(model(ones, training=True)).reshape(2000, -1)
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1.25)}
    assert (dropped == dropped[:, :1]).all()
    assert 0.77 < (dropped[:, 0] > 0).mean() < 0.83


def test_later_layers_of_a_transformer_are_dropped_more_often(keras: ModuleType, tmp_path: Path) -> None:
    """Imports Keras."""
    family = families()["cnn-transformer"]

    def rates(**config: object) -> list[float]:
        model = family.build(small(family, layers=2, **config), shapes(family))
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras", compile=False)
        return [layer.rate for layer in again.layers if getattr(layer, "noise_shape", None)]

    assert rates(stochastic_depth=0.2) == [0.1, 0.1, 0.2, 0.2]
    assert rates(stochastic_depth=0.0) == []
