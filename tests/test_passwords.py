"""Passwords in addresses: none is shown, whatever form it has, and nothing else is hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.addresses import check_tracking_uri
from harness.errors import DeviceError, TrackingError, UsageError
from harness.events import Note
from harness.passwords import is_hidden, shown_address, without_passwords
from harness.workspace import Workspace

ADDRESSES = [
    ("postgresql://me:GEHEIM@box/db", "postgresql://me:***@box/db"),
    ("mysql+pymysql://me:GEHEIM@box:3306/db", "mysql+pymysql://me:***@box:3306/db"),
    ("postgresql://me@azure:GEHEIM@box/db", "postgresql://me@azure:***@box/db"),
    ("postgresql://me:GE@HEIM@box/db", "postgresql://me:***@box/db"),
    ("postgresql://me:GE:HEIM@/x@box/db", "postgresql://me:***@box/db"),
    ("postgresql://me:GE HEIM@box/db", "postgresql://me:***@box/db"),
    ("postgresql://me:GE@HE IM@box/db", "postgresql://me:***@box/db"),
    ("postgresql://me:1GEHEIM@box:5432/db", "postgresql://me:***@box:5432/db"),
    ("postgresql://:GEHEIM@box", "postgresql://:***@box"),
    ("postgresql://me:GEHEIM@box/db?user=you@azure&x=1", "postgresql://me:***@box/db?user=you@azure&x=1"),
    ("postgresql://box/db?user=me&password=GEHEIM&x=1", "postgresql://box/db?user=me&password=***&x=1"),
    ("postgresql://box/db?sslpassword=GEHEIM", "postgresql://box/db?sslpassword=***"),
    ("mssql+pyodbc://box/db?PWD=GEHEIM", "mssql+pyodbc://box/db?PWD=***"),
    ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3DGEHEIM", "mssql+pyodbc:///?odbc_connect=***"),
    ("https://box/mlflow?api_key=GEHEIM&x=1", "https://box/mlflow?api_key=***&x=1"),
    ("https://box/mlflow?access_token=GEHEIM", "https://box/mlflow?access_token=***"),
    ("https://box/mlflow?key=GEHEIM", "https://box/mlflow?key=***"),
    ("https://box/mlflow?client_secret=GEHEIM#part", "https://box/mlflow?client_secret=***"),
    ("https://box/mlflow#credential=GEHEIM", "https://box/mlflow#credential=***"),
    ("https://me:GEHEIM@box/?token=GEHEIM", "https://me:***@box/?token=***"),
]
PLAIN = [
    "http://box:5000",
    "http://me@box:5000/mlflow",
    "http://[::1]:5000/mlflow",
    "postgresql://me@azure@box:5432/db?sslmode=require",
    "sqlite:////folder/a;b@c:d/optuna.db",
    "sqlite+pysqlite:////folder/what%3F/a:b@c.db",
    "sqlite:///:memory:",
    "databricks",
    "no address",
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES)
def test_an_address_is_shown_and_told_of_without_its_password(address: str, shown: str) -> None:
    assert shown_address(address) == shown_address(shown) == shown
    assert (is_hidden(address), is_hidden(shown)) == (False, True)
    told = without_passwords(f"--storage {address}: cannot be opened ('{address}')")
    assert told.replace("#part", "") == f"--storage {shown}: cannot be opened ('{shown}')"
    assert str(TrackingError(address)) == str(DeviceError(address)) == Note(address).text == shown


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_a_password_is_shown_as_it_is(address: str) -> None:
    assert shown_address(address) == without_passwords(address, address) == address
    assert not is_hidden(address)


@pytest.mark.parametrize(
    "text",
    [
        "http://box:5000 and mail me@home.org",
        "http://box:5000: has no models:/demo-cnn@champion",
        "http://box:5000, or mail me@home.org",
        "see http://box: mail me@home.org",
        "the tokens: 5, key = 3",
    ],
)
def test_a_sentence_is_told_as_it_is(text: str) -> None:
    assert without_passwords(text) == text


@pytest.mark.parametrize(
    ("address", "text", "told"),
    [
        ("postgresql://me:GE%40HE%20IM@box/db", "for 'GE@HE IM', GE%40HE%20IM, GE%40HE+IM", "for '***', ***, ***"),
        (
            "postgresql://me:GE/HE IM@box/db",
            "postgresql://me:GE/HE IM@box/db: away",
            "postgresql://me:***@box/db: away",
        ),
        ("postgresql://me:GE/HE IM@box/db", "no host 'HE IM' in GE/HE IM", "no host '***' in ***"),
        ("postgresql://box/db?password=GE HEIM&x=1", "box?password=GE HEIM&x=1, GE+HEIM", "box?password=***&x=1, ***"),
        ("http://me:GE/HEIM@box", "Failed to parse: 'me:GE', no host", "Failed to parse: 'me:***', no host"),
        ("http://me:G@E1/HEIM@box", "host='E1', url: /HEIM@box/api", "host='***', url: /***@box/api"),
        ("http://me:pw@box", "pw, spwan, http://me:pw@box/api", "***, spwan, http://me:***@box/api"),
        ("http://pw1:pw1@box", "http://pw1:pw1@box: no pw1", "http://pw1:***@box: no ***"),
        ("http://me:GE\\HEIM@box", "'me:GE\\\\HEIM'", "'me:***'"),
        ("me:GEHEIM@box:5000", "me:GEHEIM@box:5000: no scheme", "me:***@box:5000: no scheme"),
        ("http://box", "password=GEHEIM host=box", "password=*** host=box"),
        ("http://box", "passwd='GE HEIM' host=box", "passwd=*** host=box"),
    ],
)
def test_what_a_library_says_of_a_known_address_holds_no_password_either(address: str, text: str, told: str) -> None:
    assert without_passwords(text, None, address) == told


@pytest.mark.parametrize("uri", ["me:GEHEIM@box:5000", "htp://me:GE HEIM@box", "localhost:5000/?token=GE HEIM"])
def test_an_address_that_mlflow_cannot_use_is_refused_without_its_password(uri: str) -> None:
    with pytest.raises(UsageError) as failed:
        check_tracking_uri(uri)
    assert "HEIM" not in str(failed.value)
    assert "***" in str(failed.value)


@pytest.mark.parametrize(("address", "shown"), ADDRESSES)
def test_a_printed_command_shows_no_password(address: str, shown: str) -> None:
    place = Workspace(Path("workspace"))
    assert place.sync_command(address) == f"harness sync --tracking-uri '{shown}'"
    assert place.browsing(address) == shown
    assert place.sync_command(None) == place.sync_command(place.mlflow_url) == "harness sync"
    assert place.browsing(None) == place.browsing(place.mlflow_url) == "harness ui"
