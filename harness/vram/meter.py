"""The watch over one running trial: what it holds on the GPU, from outside, and whether that passes its budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from harness.records.trial import Reading, ReadingSource
from harness.vram import nvml
from harness.vram.probes import DEVICE_SECONDS, PROCESS_SECONDS, Probe, ProbeRejected

STOP_SECONDS = 15.0


class Meter:
    """Measures a process tree from its start to its end, in a thread of its own.

    It asks for device use every `interval`, and samples the tree's own memory about once a second, whenever device
    use rose since it last asked, at every `sample_now()`, and once more in `stop()`. So a peak that lasts one
    interval is seen; a shorter one is, too, where the source is `accounting`.

    When the GPU is lost, the peak so far stands and `lost` says what happened. When another process takes memory on a
    GPU that is measured as a whole (`device_delta`), no figure of this trial can be trusted any more, earlier ones
    included, since it may have held memory before it was noticed. The reading becomes `none`, `disturbed`
    says why, and the budget is no longer enforced: killing a trial for what another process took would be wrong.

    Attributes:
        lost: why measuring ended early; empty while the GPU is there.
        disturbed: why the reading is void; empty while it holds.
    """

    def __init__(
        self,
        probe: Probe,
        pid: int,
        budget_bytes: int,
        *,
        on_over_budget: Callable[[Reading], None],
        interval: float = DEVICE_SECONDS,
    ) -> None:
        """Prepare to watch the process `pid` and its descendants.

        Args:
            budget_bytes: the most that they may hold together.
            on_over_budget: called once, at the first reading above the budget, from the thread that took it.
            interval: seconds between two questions for device use.
        """
        self.lost = ""
        self.disturbed = ""
        self._probe = probe
        self._budget = budget_bytes
        self._on_over_budget = on_over_budget
        self._interval = interval
        self._root: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
        self._pids = {pid}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"meter-{pid}", daemon=True)
        self._started = time.monotonic()
        self._sampled = -PROCESS_SECONDS
        self._device_used = 0
        self._peak: int | None = None
        self._series: list[tuple[float, int]] = []
        self._over = False
        self._missed = 0
        self._missed_reason = ""

    def start(self) -> None:
        """Begin to watch; with nothing to measure, no thread is started."""
        self._started = time.monotonic()
        if self._probe.source is not ReadingSource.NONE:
            self._thread.start()

    def stop(self) -> Reading:
        """Sample one last time, end the watch, and return the reading. More calls change nothing."""
        self.sample_now()
        self._ended.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            # A sample that hangs in the driver is not waited for.
            self._thread.join(STOP_SECONDS)
        return self.reading

    def sample_now(self) -> None:
        """Sample the tree's memory at once: at the end of an epoch, and right before the child exits."""
        self._sample(forced=True)

    @property
    def reading(self) -> Reading:
        """The peak so far, with its source; `none` when nothing was measured or the measurement is void."""
        if self._peak is None or self.disturbed:
            return Reading()
        return Reading(peak_bytes=self._peak, source=self._probe.source)

    @property
    def series(self) -> tuple[tuple[float, int], ...]:
        """Every sample: seconds since the start, and bytes; with the source `accounting`, the peak up to then."""
        return tuple(self._series)

    @property
    def message(self) -> str:
        """What a reader of the trial must know about its reading; empty when all went well."""
        missed = f"{self._missed} samples of GPU memory failed: {self._missed_reason}." if self._missed else ""
        return " ".join(part for part in (self.lost, self.disturbed, missed) if part)

    @property
    def pids(self) -> frozenset[int]:
        """All processes that the trial was seen to have."""
        return frozenset(self._pids)

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self._sample(forced=False)

    def _sample(self, *, forced: bool) -> None:
        with self._lock:
            held = None if self._ended.is_set() else self._in_use_now(time.monotonic() - self._started, forced)
            if held is None:
                return
            self._peak = max(held, self._peak or 0)
            over = held > self._budget and not self._over
            self._over |= over
        if over:
            self._on_over_budget(self.reading)

    def _in_use_now(self, seconds: float, forced: bool) -> int | None:
        """Return what the tree holds; None when no sample is due, or it showed nothing."""
        try:
            if not self._is_due(seconds) and not forced:
                return None
            self._sampled = seconds
            held = self._probe.process_used_bytes(self._tree())
        except nvml.Lost as error:
            self.lost = f"After {seconds:.1f} s: {error}. The peak up to then stands; see what `nvidia-smi` says."
            self._ended.set()
            return None
        except ProbeRejected as error:
            self.disturbed = f"After {seconds:.1f} s {error}, so this trial counts as not measured."
            self._ended.set()
            return None
        except nvml.NvmlError as error:
            self._missed += 1
            self._missed_reason = str(error)
            return None
        if held is not None:
            self._series.append((seconds, held))
        return held

    def _is_due(self, seconds: float) -> bool:
        before, self._device_used = self._device_used, self._probe.device_used_bytes() or 0
        return self._device_used > before or seconds - self._sampled >= PROCESS_SECONDS

    def _tree(self) -> set[int]:
        if self._root is not None:
            with suppress(psutil.NoSuchProcess):
                self._pids.update(child.pid for child in self._root.children(recursive=True))
        return self._pids
