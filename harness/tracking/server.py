"""The MLflow UI of a workspace, served from its own store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from harness.errors import UsageError, WorkspaceError
from harness.processes import kill_group
from harness.settings import default_artifact_root, default_tracking_uri

FIRST_PORT = 5000
PORTS = 100


def serve(workspace: Path, host: str, port: int | None, say: Callable[[str], None]) -> int:
    """Serve until interrupted, and return the server's exit status.

    Args:
        workspace: the folder whose `mlflow.db` is shown.
        host: address to listen on.
        port: to listen on; None for the first free one from 5000.
        say: told the address.

    Raises:
        WorkspaceError: the workspace has no store.
        UsageError: the port is taken.
    """
    if not (workspace / "mlflow.db").exists():
        raise WorkspaceError(f"{workspace}: holds no mlflow.db. Make one with: harness run all --quick")
    port = port if port is not None else _first_free_port(host)
    if not _is_free(host, port):
        raise UsageError(f"--port {port}: taken on {host}. Name another, or leave it out for the first free one.")
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", default_tracking_uri(workspace)),
        *("--default-artifact-root", default_artifact_root(workspace).as_uri()),
    ]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Nothing here uses them, and they take half of the start.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    say(f"MLflow UI: http://{host}:{port} (Ctrl-C stops it)")
    # A group of its own: the server starts workers, and all must go with this process.
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        kill_group(process.pid)
        process.wait()


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
