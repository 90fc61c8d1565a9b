"""What `harness ui` sees to before and around MLflow's own server."""

from __future__ import annotations

import re
import shlex
import socket
import sqlite3
import subprocess
import sys
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

from harness.errors import TrackingError, WorkspaceError
from harness.tracking.mlflow import hosts
from harness.tracking.mlflow.connection import connect
from harness.tracking.server import serve
from harness.workspace import Workspace
from tests.helpers.mlflow import new_store

Address = namedtuple("Address", "family address")


@pytest.fixture
def gpubox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two addresses, which knows its own name."""
    networks = {
        "lo": [Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET6, "::1")],
        "eth0": [
            Address(socket.AF_INET, "130.1.2.3"),
            Address(socket.AF_INET6, "2001:db8::7"),
            Address(socket.AF_INET6, "fe80::1%eth0"),
        ],
    }
    monkeypatch.setattr("psutil.net_if_addrs", lambda: networks)
    monkeypatch.setattr("socket.gethostname", lambda: "gpubox")
    monkeypatch.setattr("socket.getfqdn", lambda: "gpubox.uni.edu")
    monkeypatch.setattr("socket.getaddrinfo", lambda name, port: [])
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)


@pytest.mark.usefixtures("gpubox")
@pytest.mark.parametrize(
    ("host", "called"),
    [
        ("0.0.0.0", ["gpubox", "gpubox.uni.edu", "gpubox.local", "130.1.2.3", "127.0.0.1"]),
        ("::", ["gpubox", "gpubox.uni.edu", "gpubox.local", "2001:db8::7", "::1"]),
        ("130.1.2.3", ["130.1.2.3"]),
        ("gpubox", ["gpubox"]),
    ],
)
def test_a_server_answers_by_every_name_of_its_machine(host: str, called: list[str]) -> None:
    assert hosts.names(host) == called
    _, allowed, _, origins = hosts.options(host, 5001)
    for name in called:
        address = hosts.url(name, 5001)
        assert is_allowed_host_header(allowed.split(","), address.removeprefix("http://"))
        # MLflow's pages ask for runs with POST.
        assert not should_block_cors_request(address, "POST", origins.split(","))
    assert is_allowed_host_header(allowed.split(","), "192.168.1.2:5001")
    assert not is_allowed_host_header(allowed.split(","), "evil.com:5001")
    assert should_block_cors_request("http://evil.com:5001", "POST", origins.split(","))


@pytest.mark.usefixtures("gpubox")
def test_a_name_that_nobody_knows_is_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str, port: None) -> None:
        raise socket.gaierror

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    assert hosts.names("0.0.0.0")[0] == "130.1.2.3"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_local_server_is_left_to_what_mlflow_allows(host: str) -> None:
    assert hosts.options(host, 5000) == ()


@pytest.fixture
def other_schema(tmp_path: Path) -> Workspace:
    """A workspace whose store was not made by the installed MLflow; the revision is the caller's to set."""
    workspace = Workspace(tmp_path / "mein ws")
    workspace.root.mkdir()
    Path(new_store(tmp_path).removeprefix("sqlite:///")).rename(workspace.mlflow_file)
    return workspace


def set_revision(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()


def older_revision() -> str:
    """A revision of MLflow's tables that is not the last."""
    folder = Path(mlflow.__file__).parent / "store/db_migrations/versions"
    (found,) = re.findall(r'^down_revision = "(\w+)"', (next(folder.glob("*_*.py"))).read_text(), re.MULTILINE)
    return str(found)


def test_a_store_of_an_older_mlflow_comes_with_the_command_that_mends_it(
    other_schema: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_revision(other_schema.mlflow_file, older_revision())
    monkeypatch.setattr("subprocess.Popen", lambda *about, **more: pytest.fail("a server was started"))
    with pytest.raises(TrackingError) as failed:
        serve(other_schema.root, "127.0.0.1", None, print)
    text, _, command = str(failed.value).rpartition(": ")
    assert text.endswith("an older MLflow made this store. Make a copy of it, then bring it up to date")
    assert shlex.split(command) == [sys.executable, "-P", "-m", "mlflow", "db", "upgrade", other_schema.mlflow_url]


def test_a_store_of_a_newer_mlflow_is_called_so(other_schema: Workspace) -> None:
    set_revision(other_schema.mlflow_file, "fedcba987654")
    with pytest.raises(TrackingError, match=f"a newer MLflow than the {re.escape(mlflow.__version__)} that is inst"):
        connect(other_schema.mlflow_url)


def test_a_workspace_without_a_store_comes_with_a_command_that_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError) as failed:
        serve(tmp_path / "mein ws", "127.0.0.1", None, print)
    command = str(failed.value).rpartition(": ")[2]
    assert shlex.split(command) == ["harness", "run", "all", "--workspace", str(tmp_path / "mein ws"), "--quick"]
    assert subprocess.run(["sh", "-n", "-c", command]).returncode == 0
