"""A host whose clock steps, by an operator or by NTP, while a machine runs."""

from __future__ import annotations

import datetime
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tests.guest.machines import disk, empty_image, obeying
from tests.guest.stopped import IOPS, paced
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from tests.guest.vmm import Vmm

STEP_S = 400 * 86400


def cmos_time(vmm: Vmm) -> float:
    """Return what the guest reads from its clock, which is in BCD."""
    century, year, month, day, hour, minute, second = (
        int(f"{vmm.ask(f'c {register:x}'):x}") for register in (0x32, 9, 8, 7, 4, 2, 0)
    )
    read = datetime.datetime(century * 100 + year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    return read.timestamp()


def clock_steps(folder: Path, step: Callable[[int], float], **options: Any) -> None:
    """Step the clock both ways, by what `step` does; it returns the time of the day then."""
    words = [*disk(empty_image(folder / "disk"))[:-1], f"virtio-blk-device,drive=d,iops={IOPS}"]
    with (
        obeying(folder, *words, **options) as vmm,
        closing(Qmp(folder / "qmp", vmm.deadline)) as qmp,
    ):
        for seconds in (STEP_S, -2 * STEP_S, STEP_S):
            now = step(seconds)
            begun = time.monotonic()
            qmp.call("query-status")
            answered = time.monotonic() - begun
            guest = cmos_time(vmm)
            took = paced(vmm)

            assert answered < 1
            assert abs(now - guest) < 120
            assert 0.9 <= took <= 1.5
        vmm.type(b"q\n")
        assert qmp.wait_event("SHUTDOWN")["data"]["guest"] is True
