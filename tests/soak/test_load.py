"""A process that is stopped, killed, or one of hundreds: nothing is lost, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.machines import acknowledged, disk, empty_image, lost_records, obeying, started
from tests.guest.stopped import stopped_for
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

TIMEOUT_S = 900
KILLS = 200
STARTS = 300


def test_a_minute_of_sigstop_changes_nothing(tmp_path: Path, record_property: Record) -> None:
    took = stopped_for(60, tmp_path)

    record_property("first answer after a minute", f"{took * 1e3:.0f} ms")


def test_kills_at_random_moments_lose_nothing_that_was_acknowledged(
    tmp_path: Path, record_property: Record
) -> None:
    seed = int(time.time())
    chance = random.Random(seed)
    image = tmp_path / "disk"
    total = 0
    for _ in range(KILLS):
        empty_image(image)
        with started("records", tmp_path, *disk(image), timeout=TIMEOUT_S) as vmm:
            vmm.read_until(b"begins\n")
            time.sleep(chance.random() * 0.2)  # the moment
            vmm.process.kill()
            number = acknowledged(vmm.finish()[1])
        total += number
        assert lost_records(image, number) == [], f"seed {seed}"
    record_property("seed", seed)
    record_property("kills", KILLS)
    record_property("records acknowledged", total)

    assert total > KILLS


def test_hundreds_of_machines_after_another_leave_nothing_on_the_host(
    tmp_path: Path, record_property: Record
) -> None:
    image = empty_image(tmp_path / "disk")
    ours = len(os.listdir("/proc/self/fd"))
    begun = time.monotonic()
    for number in range(STARTS):
        with obeying(tmp_path, *disk(image), "-pidfile", tmp_path / "pid", timeout=TIMEOUT_S) as vmm:
            children = Path(f"/proc/{vmm.process.pid}/task/{vmm.process.pid}/children").read_text()
            assert children == ""
            if number % 3 == 0:
                vmm.process.send_signal(signal.SIGTERM)
            elif number % 3 == 1:
                vmm.type(b"q\n")
            else:
                with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
                    qmp.call("quit")
            status, _, errors = vmm.finish()
        assert (status, errors) == (0, "")
        assert sorted(os.listdir(tmp_path)) == ["disk"]
    record_property("starts and ends", STARTS)
    record_property("each", f"{(time.monotonic() - begun) / STARTS * 1e3:.0f} ms")

    assert len(os.listdir("/proc/self/fd")) == ours
