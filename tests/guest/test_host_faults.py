"""A host that stops the process, steps its clock, or runs many machines at once."""

from __future__ import annotations

import datetime
import os
import signal
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.machines import acknowledged, disk, empty_image, lost_records, obeying, started
from tests.guest.stopped import IOPS, paced, stopped_for
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kvm

DAY_S = 86400
STEP_S = 400 * DAY_S
COMMANDS_EACH_S = 100
MACHINES = 20


def test_a_process_that_was_stopped_for_seconds_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    stopped_for(2, tmp_path)


# Steps of the host's clock: only where the clock is ours.


@pytest.fixture
def step() -> Iterator[Callable[[float], None]]:
    """Yield what moves the clock of this host; it is put right afterwards."""
    if os.environ.get("STRATOVIRT_RIG") != "1":
        pytest.skip("the clock of this host is not ours")
    ahead = time.time() - time.monotonic()

    def by(seconds: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)

    yield by
    time.clock_settime(time.CLOCK_REALTIME, ahead + time.monotonic())


def cmos_time(vmm: Vmm) -> datetime.datetime:
    """Return what the guest reads from its clock, which is in BCD."""
    century, year, month, day, hour, minute = (
        int(f"{vmm.ask(f'c {register:x}'):x}") for register in (0x32, 9, 8, 7, 4, 2)
    )
    return datetime.datetime(century * 100 + year, month, day, hour, minute, tzinfo=datetime.UTC)


def refused(qmp: Qmp) -> int:
    """Ask twice as often as QMP allows, at once; return how many commands were refused."""
    count = 0
    for _ in range(2 * COMMANDS_EACH_S):
        try:
            qmp.call("query-status")
        except RuntimeError:
            count += 1
    return count


@pytest.mark.linux  # in the rig
def test_a_step_of_the_hosts_clock_moves_the_guests_clock_and_nothing_else(
    step: Callable[[float], None], tmp_path: Path
) -> None:
    image = empty_image(tmp_path / "disk")
    words = [*disk(image)[:-1], f"virtio-blk-device,drive=d,iops={IOPS}"]
    with obeying(tmp_path, *words, timeout=60) as vmm, closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
        for seconds in (STEP_S, -2 * STEP_S, STEP_S):
            step(seconds)
            begun = time.monotonic()
            qmp.call("query-status")
            answered = time.monotonic() - begun
            guest = cmos_time(vmm)
            now = datetime.datetime.now(tz=datetime.UTC)
            took = paced(vmm)

            assert answered < 1
            assert abs((now - guest).total_seconds()) < 120
            assert 0.9 <= took <= 1.5
        vmm.type(b"q\n")
        assert qmp.wait_event("SHUTDOWN")["data"]["guest"] is True


# Many at once.


def test_twenty_machines_at_once_all_answer_and_do_their_io(tmp_path: Path) -> None:
    with ExitStack() as stack:
        machines = [begun(stack, tmp_path / str(number)) for number in range(MACHINES)]
        for number, (folder, vmm) in enumerate(machines, 1):
            vmm.read_until(b"ack 0000000000000001\n")
            qmp = stack.enter_context(closing(Qmp(folder / "qmp", vmm.deadline)))
            assert qmp.call("query-status")["status"] == "running", number
        for _, vmm in machines:
            vmm.process.send_signal(signal.SIGTERM)
        for folder, vmm in machines:
            status, output, errors = vmm.finish()
            assert (status, errors) == (0, "")
            assert lost_records(folder / "disk", acknowledged(output)) == []
            assert not (folder / "qmp").exists()


def begun(stack: ExitStack, folder: Path) -> tuple[Path, Vmm]:
    """Return a folder and the machine that writes records there."""
    folder.mkdir()
    words = disk(empty_image(folder / "disk"))
    return folder, stack.enter_context(started("records", folder, *words, timeout=60))
