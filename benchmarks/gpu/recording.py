"""A back end as a study sees it that keeps what became of its jobs and of their memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.trials.backend import BackendEvent, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.vram.footprint import Footprint
from harness.vram.slots import DeviceSlot


@dataclass(frozen=True)
class Recorded:
    """A job that was started.

    Attributes:
        before_bytes: device use right before; None where nobody can tell.
    """

    spec: TrialSpec
    slot: DeviceSlot
    before_bytes: int | None


class RecordingBackend(TrialBackend):
    """Passes jobs on to another back end.

    Attributes:
        jobs: all that were started, by key.
        ends: how they ended, in order.
        most_at_once: so many ran side by side.
    """

    def __init__(self, backend: TrialBackend, returned: list[dict[str, Any]], understate: int = 1) -> None:
        """Record the jobs of `backend`.

        Args:
            returned: gets a row for each job that ends: device use before and after it.
            understate: footprints are divided by it.
        """
        self.backend, self.returned, self.understate = backend, returned, understate
        self.jobs: dict[JobKey, Recorded] = {}
        self.ends: list[TrialEnded] = []
        self.most_at_once = 0

    def slots(self) -> tuple[DeviceSlot, ...]:
        return self.backend.slots()

    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        return self.backend.device_used_bytes(slot)

    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        return [
            Footprint(**{name: part // self.understate for name, part in asdict(found).items()})
            for found in self.backend.estimate_footprints(family, input_spec, configs, genres)
        ]

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        self.jobs[spec.key] = Recorded(spec, slot, self.device_used_bytes(slot))
        self.backend.start(spec, slot)
        self.most_at_once = max(self.most_at_once, len(self.memory_in_use()))

    def events(self) -> Iterator[BackendEvent]:
        for event in self.backend.events():
            if isinstance(event, TrialEnded):
                self.ends.append(event)
                self.returned.append(self._row(event))
            yield event

    def reply(self, key: JobKey, proceed: bool) -> None:
        self.backend.reply(key, proceed)

    def memory_in_use(self) -> Mapping[JobKey, int | None]:
        return self.backend.memory_in_use()

    def close(self) -> None:
        self.backend.close()

    def _row(self, end: TrialEnded) -> dict[str, Any]:
        job = self.jobs[end.key]
        micro_batch = job.spec.training.batch.micro_batch
        return {
            "what": f"{end.key.study}, trial {end.key.number}, micro-batch {micro_batch}",
            "outcome": end.report.outcome,
            "in_company": self.most_at_once > 1,
            "before_bytes": job.before_bytes,
            "after_bytes": self.device_used_bytes(job.slot),
            "seconds": end.returned_seconds,
        }
