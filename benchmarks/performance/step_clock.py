"""Where the CPU seconds of a training go, told by Keras's own callbacks."""

from __future__ import annotations

import time
from typing import Any

import keras


class StepClock(keras.callbacks.Callback):
    """Reads the CPU clock of this process between the steps and epochs of one `model.fit`."""

    def __init__(self) -> None:
        super().__init__()
        self.fit_started = self.fit_ended = 0.0
        self.first_step = self.steps = 0.0
        self._epoch_started = self._batch_ended = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch_started = self._batch_ended = time.process_time()
        self.fit_started = self.fit_started or self._epoch_started

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.process_time()
        taken, self._batch_ended = now - self._batch_ended, now
        if self.first_step:
            self.steps += taken
        else:
            self.first_step = taken

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.fit_ended = time.process_time()

    def figures(self, started: float, ended: float) -> dict[str, float]:
        """Return the parts of a trial that began and ended at these CPU seconds, and the share of its steps."""
        whole = ended - started
        return {
            "trial_cpu_seconds": whole,
            "build_cpu_seconds": self.fit_started - started,
            "first_step_cpu_seconds": self.first_step,
            "steps_cpu_seconds": self.steps,
            "between_cpu_seconds": self.fit_ended - self.fit_started - self.first_step - self.steps,
            "end_cpu_seconds": ended - self.fit_ended,
            "share": self.steps / whole,
        }
