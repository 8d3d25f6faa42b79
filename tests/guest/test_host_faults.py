"""A host that stops the process, steps its clock, or runs many machines at once."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.machines import acknowledged, disk, empty_image, lost_records, started
from tests.guest.shims import DiskFaults
from tests.guest.stepped import clock_steps
from tests.guest.stopped import stopped_for
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

MACHINES = 20


def test_a_process_that_was_stopped_for_seconds_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    stopped_for(2, tmp_path)


def test_a_step_of_the_hosts_clock_moves_the_guests_clock_and_nothing_else(tmp_path: Path) -> None:
    faults = DiskFaults(tmp_path)

    def step(seconds: int) -> float:
        faults.set("clock_step", faults.get("clock_step") + seconds)
        return time.time() + faults.get("clock_step")

    clock_steps(tmp_path, step, env=faults.variables)


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
