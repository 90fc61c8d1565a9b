"""The MLflow UI of a workspace, served from its own store."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from harness.errors import UsageError, WorkspaceError
from harness.interruption import Interrupted
from harness.paths import path_state
from harness.processes import child_environment, kill_group
from harness.python_path import LIBRARY
from harness.workspace import Workspace

FIRST_PORT = 5000
PORTS = 100

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 5.0


def serve(workspace: Path, host: str, port: int | None, say: Callable[[str], None]) -> int:
    """Serve until interrupted, and return the server's exit status.

    Args:
        workspace: the folder whose `mlflow.db` is shown.
        host: address to listen on.
        port: to listen on; None for the first free one from 5000.
        say: told the addresses, once the server answers.

    Raises:
        WorkspaceError: the workspace has no store.
        TrackingError: the store cannot be used.
        UsageError: the port is taken.
    """
    layout = Workspace(workspace)
    state = path_state(layout.mlflow_file)
    if not state.exists:
        advice = f"Make one with: {layout.command('run all', '--quick')}"
        if state.kind == "unreadable":
            advice = "Name another folder with --workspace."
        raise WorkspaceError(f"{workspace}: {state.said('holds no mlflow.db')}. {advice}")
    port = port if port is not None else _first_free_port(host)
    if not _is_free(host, port):
        raise UsageError(f"--port {port}: taken on {host}. Name another, or leave it out for the first free one.")
    # MLflow takes seconds to import.
    from harness.tracking.mlflow import hosts
    from harness.tracking.mlflow.connection import connect

    # Before the server, which would print a traceback.
    connect(layout.mlflow_url)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", layout.mlflow_url),
        *("--default-artifact-root", layout.artifacts.as_uri()),
        *hosts.options(host, port),
        # A line for each request would push the addresses off the screen. And uvicorn puts a folder before all others
        # that Python looks for modules in, the current one unless told otherwise.
        *("--uvicorn-opts", f"--log-level warning --app-dir {shlex.quote(LIBRARY)}"),
    ]
    environment = {
        **child_environment(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Nothing here uses them, and they take half of the start.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    # A group of its own: the server starts workers, and all must go with this process.
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True)
    try:
        _tell([hosts.url(name, port) for name in hosts.names(host)], layout, process, say)
        return process.wait()
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Interrupted):
            raise
        return 0  # as was told
    finally:
        kill_group(process.pid)
        process.wait()


def _tell(
    servers: Sequence[str], layout: Workspace, process: subprocess.Popen[bytes], say: Callable[[str], None]
) -> None:
    """Wait until the server answers, then say where its UI shows what; nothing where the process ends before.

    Args:
        servers: its addresses, the best first; by the last one, this machine reaches it.
    """
    from harness.tracking.mlflow.views import addresses

    shown = addresses(layout.mlflow_url, servers[0])
    while not _answers(f"{servers[-1]}/health"):
        if process.poll() is not None:
            return
        time.sleep(_POLL_SECONDS)
    say(f"MLflow UI: {servers[0]} (Ctrl-C stops it)")
    for name, address in shown.items():
        say(f"{name}: {address}")
    if len(servers) > 1:
        say(f"also at: {', '.join(servers[1:])}")


def _answers(address: str) -> bool:
    try:
        # A proxy of the environment knows nothing of this machine's own addresses.
        with build_opener(ProxyHandler({})).open(address, timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _first_free_port(host: str) -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if _is_free(host, port):
            return port
    raise UsageError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free on {host}. Name one with --port.")


def _is_free(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
