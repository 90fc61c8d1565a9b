"""What a data set is called."""

from __future__ import annotations

import unicodedata

import pytest

from harness.datasets.dataset import dataset_name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("gtzan", "gtzan"),
        ("my music (2024)!", "my-music-2024"),
        ("音楽 2024", "音楽-2024"),
        ("Музыка", "Музыка"),
        ("संगीत", "संगीत"),
        (unicodedata.normalize("NFD", "Música"), "Música"),
        ("v1.0_final-", "v1.0_final"),
        ("a/b:c", "a-b-c"),
        ("!!!", "dataset"),
    ],
)
def test_a_name_keeps_letters_of_any_script(folder: str, name: str) -> None:
    assert dataset_name(folder) == unicodedata.normalize("NFC", name)
