"""Children of a server that has imported the framework once: each starts in hundredths of a second."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from harness.errors import HarnessError
from harness.keras_backend import HIDDEN_GPU, LOGGED, environment
from harness.processes import environment_set, kill_group, redirected, sheltered
from harness.trials.local import child

PRELOAD = ("harness.trials.local.preloaded",)
"""Modules that the fork server imports once, for all children."""

REAP_SECONDS = 15.0
"""How long a process may take to be gone after SIGKILL; one that hangs in a driver stays."""


@dataclass(frozen=True)
class Child:
    """A process that the server forked, and the parent's end of the pipe to it."""

    process: ForkServerProcess
    connection: Connection

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> bool:
        """End its whole process group and return whether all of that is gone."""
        is_gone = kill_group(self.pid)
        self.process.kill()  # it may have had no time to lead its group yet
        return is_gone

    def reap(self) -> bool:
        """Wait for the end of a process that exits by itself, or was killed; return whether it has."""
        self.process.join(REAP_SECONDS)
        if self.process.is_alive():
            # At its exit, Python would wait for it for ever.
            multiprocessing.process._children.discard(self.process)  # type: ignore[attr-defined]
            return False
        return True


class ForkServer:
    """The one fork server of this process."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._is_checked = False

    @classmethod
    def start(cls) -> ForkServer:
        """Start the server, without waiting for its imports.

        Its output is thrown away, for frameworks chatter at import; its children have logs. Standard output goes too:
        whoever reads a pipe from this process to its end would wait for the server's imports.
        """
        server = cls()
        server._context.set_forkserver_preload(list(PRELOAD))
        os.environ.update(environment())
        # In this process the framework stays silent.
        with sheltered(), environment_set(LOGGED), redirected(1, 2):
            forkserver.ensure_running()
        return server

    def fork(self, target: Callable[..., None], *arguments: Any) -> Child:
        """Call `target(*arguments, connection)` in a child; `target` is a function of a module, not of `__main__`.

        Raises:
            HarnessError: the server is gone.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(*arguments, theirs), daemon=True)
        try:
            with sheltered():
                process.start()
        except (EOFError, OSError) as error:
            raise HarnessError(
                f"the fork server died ({error}), most likely while it imported the framework. See what this says: "
                f"{sys.executable} -c 'import {PRELOAD[0]}'"
            ) from error
        finally:
            theirs.close()
        return Child(process, ours)

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        environment: Mapping[str, str] = HIDDEN_GPU,
        seconds: float | None = None,
        failure: type[HarnessError] = HarnessError,
    ) -> Any:
        """Return what `function(*arguments)` answers in a child of its own that sees no device, unless told otherwise.

        Args:
            environment: variables to set in the child.
            seconds: how long to wait for the answer; None for as long as the child lives.
            failure: the class of the error where the function raised one that the machine is not to blame for.

        Raises:
            HarnessError: the function raised, the child died, or it did not answer in time.
        """
        kind = HarnessError
        called = self.fork(child.run_call, function, arguments, dict(environment))
        try:
            if called.connection.poll(seconds):
                good, answer = called.connection.recv()
            else:
                good, answer = False, f"no answer within {seconds:.0f} s"
                called.process.kill()
        except EOFError:
            good, answer = False, "the child process died"
        finally:
            called.connection.close()
            called.reap()
        if isinstance(answer, child.CallFailure):
            kind, answer = HarnessError if answer.of_machine else failure, answer.message
        if not good:
            raise kind(f"{function.__name__} failed in a child process: {answer}.")
        return answer

    def check(self) -> None:
        """Make sure that the server may fork safely; asked once.

        Raises:
            HarnessError: the server runs threads, so a module that it imported started some.
        """
        if self._is_checked:
            return
        threads = self.call(child.server_threads)
        if threads:
            raise HarnessError(
                f"the fork server runs threads ({', '.join(threads)}), so its children could hang. A family's module, "
                "or a package that it imports, starts threads or uses the framework at import: move that into `build`."
            )
        self._is_checked = True
