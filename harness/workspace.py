"""One folder with everything that a benchmark produced; this module alone knows what lies where in it.

WORKSPACE/lock                  the process that owns it
WORKSPACE/optuna.db             the studies for optuna-dashboard; written, and never read
WORKSPACE/results/              the ledger; see `harness.tracking.ledger`
WORKSPACE/store/                features, waveforms and embeddings
WORKSPACE/mlflow.db, artifacts/ MLflow's own store
WORKSPACE/report/               RESULTS.md, scores.json, pictures/
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.addresses import sqlite_url
from harness.errors import WorkspaceError
from harness.files import writing
from harness.passwords import shown_address
from harness.paths import path_state

DEFAULT = Path("workspace")
"""The workspace of commands that name none."""


@dataclass(frozen=True)
class Workspace:
    """The layout of a workspace; making one touches nothing."""

    root: Path

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def results(self) -> Path:
        """The ledger's folder."""
        return self.root / "results"

    @property
    def store(self) -> Path:
        """Features, waveforms and embeddings."""
        return self.root / "store"

    @property
    def report(self) -> Path:
        """The report in markdown; what belongs to it lies beside."""
        return self.root / "report" / "RESULTS.md"

    @property
    def dashboard_file(self) -> Path:
        """The studies for optuna-dashboard."""
        return self.root / "optuna.db"

    @property
    def mlflow_file(self) -> Path:
        """MLflow's own store, which keeps runs unless told otherwise."""
        return self.root.resolve() / "mlflow.db"

    @property
    def mlflow_url(self) -> str:
        return sqlite_url(self.mlflow_file)

    @property
    def artifacts(self) -> Path:
        """Where MLflow's own store keeps artifacts."""
        return self.root.resolve() / "artifacts"

    def command(self, name: str, *options: object) -> str:
        """Return a command of `harness` on this workspace, as a shell takes it."""
        place = () if self.root == DEFAULT else ("--workspace", self.root)
        return shlex.join(["harness", *name.split(), *map(str, (*place, *options))])

    def sync_command(self, tracking_uri: str | None) -> str:
        """Return the command that delivers results to a store of MLflow's; None for the workspace's own."""
        if tracking_uri is None or tracking_uri == self.mlflow_url:
            return self.command("sync")
        return self.command("sync", "--tracking-uri", shown_address(tracking_uri))

    def browsing(self, tracking_uri: str | None) -> str:
        """Return where results are looked at in MLflow: its address, or the command that serves the workspace's own."""
        if tracking_uri is None or tracking_uri == self.mlflow_url:
            return self.command("ui")
        return shown_address(tracking_uri)

    def check_results(self) -> None:
        """Make sure that there are results; locking the workspace would make its folder.

        Raises:
            WorkspaceError: the folder holds none, or cannot be read.
        """
        self.check_readable()
        if not path_state(self.results).exists:
            raise WorkspaceError(f"{self.root}: holds no results. Name another folder with --workspace.")

    def check_readable(self) -> None:
        """Make sure that results, where there are any, can be found; `Path.glob` passes over locked folders.

        Raises:
            WorkspaceError: they cannot.
        """
        state = path_state(self.results)
        if state.kind == "unreadable":
            raise WorkspaceError(f"{self.root}: {state.said('')}. Name another folder with --workspace.")
        folders = (self.results, *self.results.glob("*")) if state.kind == "folder" else ()
        for folder in folders:
            if path_state(folder).kind == "folder" and not os.access(folder, os.R_OK | os.X_OK):
                raise WorkspaceError(
                    f"{folder}: cannot be read ({os.strerror(errno.EACCES)}). Mend its permissions, or name another "
                    "folder with --workspace."
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Own the workspace while the block runs. The kernel lets go of it when the process ends, however it ends.

        Raises:
            WorkspaceError: another process owns it, or the folder cannot be written to.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            # Without a buffer, which could fill a disk after the block as well.
            file = self.lock_file.open("ab+", buffering=0)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                owner = file.read().decode(errors="replace").strip() or "unknown"
                raise WorkspaceError(
                    f"{self.root}: another run (process {owner}) owns this workspace. "
                    "Wait for it to end, stop it, or name another folder with --workspace."
                ) from error
            with writing(self.lock_file):
                file.truncate(0)
                file.write(f"{os.getpid()}\n".encode())
            yield
