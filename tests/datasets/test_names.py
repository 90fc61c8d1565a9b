"""Names that are one in several spellings, and those that are not."""

from __future__ import annotations

import unicodedata

import pytest

from harness.datasets.names import first_spellings, genre_number, letters, normal_name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Beyonc\u00e9", "Beyonce\u0301"),
        ("Miles Davis", " miles  DAVIS\t"),
        ("Miles\u00a0Davis", "Miles Davis"),
        ("Stra\u00dfe", "STRASSE"),
        # Its capital comes apart into two signs as it loses its case.
        ("\u01f0azz", unicodedata.normalize("NFD", "\u01f0azz")),
    ],
)
def test_spellings_of_one_name_have_one_form(one: str, other: str) -> None:
    assert normal_name(one) == normal_name(other)
    assert normal_name(normal_name(one)) == normal_name(one)


@pytest.mark.parametrize(("one", "other"), [("Air", "Aïr"), ("A B", "AB"), ("Hip-Hop", "Hip Hop"), ("1", "01")])
def test_other_names_have_other_forms(one: str, other: str) -> None:
    assert normal_name(one) != normal_name(other)


def test_letters_leave_out_what_parts_words() -> None:
    assert letters("Hip-Hop") == letters("hip hop") == letters("HIPHOP") == "hiphop"
    assert letters("R&B") == "rb"
    assert letters("&") == "&"


def test_a_track_may_be_named_after_its_genre() -> None:
    assert genre_number("blues.00012", "Blues") == genre_number("Blues_00012", "blues") == "00012"
    assert genre_number("hiphop 00001", "Hip-Hop") == "00001"
    assert {genre_number(name, "blues") for name in ("rock.00012", "blues.0012", "blues.000012", "00012")} == {None}


def test_the_first_spelling_stands_for_all() -> None:
    assert first_spellings(["Can", "CAN", "Air", "can "]) == {"Can": "Can", "CAN": "Can", "Air": "Air", "can ": "Can"}
