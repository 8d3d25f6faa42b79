"""When the host stood still: `python -m tests.guest.pauses CPU` tells of each time that a CPU did not run us.

It runs before all else on that CPU (sched(7), SCHED_FIFO), so that only the host of a virtual machine, or the
kernel, can have held it up: nothing of what is tested. A rig, which QEMU emulates, stands still now and then.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

TICK_S = 0.005
LATE_S = 0.005  # what is a pause
RECORD = struct.Struct("dd")  # from when to when, of the monotonic clock
READY = RECORD.pack(0, 0)


class Pauses:
    """Knows the pauses of each CPU since the block began."""

    def __init__(self) -> None:
        self._watchers = {
            cpu: subprocess.Popen([sys.executable, "-m", __name__, str(cpu)], stdout=subprocess.PIPE)
            for cpu in os.sched_getaffinity(0)
        }
        self._pauses: dict[int, list[tuple[float, float]]] = {cpu: [] for cpu in self._watchers}

    def __enter__(self) -> Pauses:
        for watcher in self._watchers.values():
            assert watcher.stdout is not None
            assert watcher.stdout.read(RECORD.size) == READY
            os.set_blocking(watcher.stdout.fileno(), False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.look()
        while self._watchers:
            _, watcher = self._watchers.popitem()
            with watcher:
                watcher.kill()

    def look(self) -> None:
        """Take what there is to be known by now."""
        for cpu, watcher in self._watchers.items():
            assert watcher.stdout is not None
            data = watcher.stdout.read() or b""  # a record is written at once, and read whole
            self._pauses[cpu] += RECORD.iter_unpack(data)

    def between(self, begin: float, end: float) -> float:
        """Return how long, between two times, the CPU stood still that stood still the longest."""
        return max(
            sum(max(min(end, last) - max(begin, first), 0) for first, last in pauses)
            for pauses in self._pauses.values()
        )


def watch(cpu: int) -> None:
    """Write a record for each pause of a CPU, as long as somebody reads."""
    os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        os.write(1, READY)
        return  # any other process could hold us up: that would be no pause
    os.write(1, READY)
    before = time.monotonic()
    while True:
        time.sleep(TICK_S)
        now = time.monotonic()
        if now - before - TICK_S > LATE_S:
            os.write(1, RECORD.pack(before + TICK_S, now))
        before = now


if __name__ == "__main__":
    try:
        watch(int(sys.argv[1]))
    except BrokenPipeError:
        sys.exit(0)
