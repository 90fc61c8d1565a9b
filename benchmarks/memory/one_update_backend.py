"""A back end whose jobs train one update in a child: what they hold is real, what they score is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.memory.one_update import hold_one_update
from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.trial import Outcome, Reading, ValidationScores
from harness.testing.backends import an_epoch
from harness.testing.nvml_stub.driver import describe
from harness.testing.records import PREDICTIONS
from harness.trials import model_probes
from harness.trials.backend import BackendEvent, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.local.fork_server import ForkServer
from harness.trials.report import TrialReport
from harness.vram.device import memory_used
from harness.vram.footprint import Footprint
from harness.vram.meter import Meter
from harness.vram.probes import ProcessProbe
from harness.vram.slots import DeviceSlot

IRRELEVANT = {
    *("learning_rate", "weight_decay", "warmup", "label_smoothing", "mixup", "patience", "dropout"),
    *("l2_weight", "batch_norm_momentum", "window", "crops_per_track", "class_weights"),
    *("row_mask_width", "frame_mask_width", "batch_size"),
}
"""What of a configuration says nothing about the memory of a micro-batch of known size."""


@dataclass
class OneUpdateBackend(TrialBackend):
    """Carries out the jobs of one family one at a time, each watched as a real trial is; the same network is run once.

    A cap is applied to what a network was seen to hold: what needs more is out of memory.

    Attributes:
        slot: of the card that the stand-in driver is to show.
        folder: where children say what they hold.
        family: its name.
        score: makes up what a configuration reaches, from its footprint in bytes at a micro-batch of 8.
        out_of_memory: so many jobs were, so far.
    """

    server: ForkServer
    slot: DeviceSlot
    folder: Path
    family: str
    budget_bytes: int
    score: Callable[[Config, int], float]
    out_of_memory: int = 0
    _waiting: list[TrialSpec] = field(default_factory=list)
    _in_use: dict[str, int] = field(default_factory=dict)
    _footprints: dict[str, Footprint] = field(default_factory=dict)

    def slots(self) -> tuple[DeviceSlot, ...]:
        return (self.slot,)

    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        return memory_used(slot.device)

    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        return [self._footprint(input_spec, config, genres) for config in configs]

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        self._waiting.append(spec)

    def events(self) -> Iterator[BackendEvent]:
        if not self._waiting:
            return
        spec = self._waiting.pop()
        training, cap = spec.training, spec.limits.cap_bytes or spec.limits.budget_bytes
        in_use = self.bytes_in_use(training.config, training.batch.micro_batch, training.batch.accumulation)
        reading = Reading(peak_bytes=min(in_use, cap), source=ProcessProbe.source)
        if in_use > cap:
            self.out_of_memory += 1
            report = TrialReport(Outcome.OOM, allocator_peak_bytes=cap, pool_bytes=cap)
        else:
            footprint = self._footprint(training.input_spec, training.config, len(training.genres))
            value = self.score(training.config, footprint.peak(8, 1))
            report = TrialReport(
                Outcome.COMPLETED,
                epochs=(an_epoch(1, value),),
                best_epoch=1,
                scores=ValidationScores(valid_accuracy=value, valid_macro_f1=value),
                allocator_peak_bytes=in_use,
                pool_bytes=in_use,
                train_seconds=1.0,
                predictions=PREDICTIONS,
            )
        yield TrialEnded(spec.key, report, reading)

    def reply(self, key: JobKey, proceed: bool) -> None:
        raise AssertionError("no job waits for a reply: none reports epochs before its end")

    def memory_in_use(self) -> Mapping[JobKey, int | None]:
        return dict.fromkeys(spec.key for spec in self._waiting)

    def close(self) -> None:
        self._waiting.clear()

    def show_card(self, *directives: str) -> None:
        """Let the driver show the card, and what else the directives say."""
        device = self.slot.device
        describe(f"card {device.uuid} {device.total_bytes} {device.name}", *directives)

    def bytes_in_use(self, config: Config, micro_batch: int, accumulation: int) -> int:
        """Return what a child that trains one update was seen to hold, until it passed the budget."""
        key = json.dumps([structure(config), micro_batch, accumulation])
        if key not in self._in_use:
            self._in_use[key] = self._watch(config, micro_batch, accumulation)
        return self._in_use[key]

    def _footprint(self, input_spec: InputSpec, config: Config, genres: int) -> Footprint:
        key = json.dumps(structure(config))
        if key not in self._footprints:
            estimate, plain = model_probes.estimate_footprints, dict(config)
            self._footprints[key] = self.server.call(estimate, self.family, input_spec, [plain], genres)[0]
        return self._footprints[key]

    def _watch(self, config: Config, micro_batch: int, accumulation: int) -> int:
        uuid, figure = self.slot.device.uuid, self.folder / "figure"
        assert uuid is not None
        figure.write_text("0")
        child = self.server.fork(hold_one_update, self.family, dict(config), micro_batch, accumulation, figure)
        self.show_card(f"process {child.pid} file:{figure}")

        def over_budget(reading: Reading) -> None:
            child.kill()

        meter = Meter(ProcessProbe(uuid), child.pid, self.budget_bytes, on_over_budget=over_budget)
        meter.start()
        try:
            allocator_peak = child.connection.recv()
        except EOFError:
            allocator_peak = None
        meter.sample_now()
        in_use = meter.reading.peak_bytes
        if allocator_peak is not None:
            # A short peak above the budget is seen after the fact: the child lives, its trial is over all the same.
            with suppress(BrokenPipeError):
                child.connection.send(True)
        meter.stop()
        child.kill()
        child.reap()
        child.connection.close()
        if in_use is None or allocator_peak not in (None, in_use):
            raise RuntimeError(f"the meter read {in_use} bytes, and the allocator had taken {allocator_peak}")
        return in_use


def structure(config: Config) -> list[tuple[str, Any]]:
    """Return what of a configuration decides about memory."""
    return sorted((name, value) for name, value in config.items() if name not in IRRELEVANT)
