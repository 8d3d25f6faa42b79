"""Twenty machines at once: what they take together, and how soon they answer."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import private_kib
from tests.guest.machines import acknowledged, disk, empty_image, lost_records, started
from tests.guest.measured import Thread
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.guest.vmm import Vmm

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

MACHINES = 20
CORES = 2
ANSWER_S = 0.1  # the machine's own part: 20 guests that never rest have two cores
ROUNDS = 30
PRIVATE_KIB_EACH = 16 << 10


@contextmanager
def few_cores() -> Iterator[int]:
    """Keep this process, and what it starts, on two cores; yield how many there are of them."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:CORES])
    try:
        yield len(cores[:CORES])
    finally:
        os.sched_setaffinity(0, cores)


def asked(clients: Sequence[Qmp], machines: Sequence[Vmm]) -> Iterator[tuple[float, float]]:
    """Ask every machine again and again; yield the seconds until each answer, and without waits for a CPU."""
    us = Thread(os.getpid(), os.getpid())
    controls = [Thread(vmm.process.pid, vmm.process.pid) for vmm in machines]
    for _ in range(ROUNDS):
        for client, control in zip(clients, controls, strict=True):
            waited = us.times()[1] + control.times()[1]
            begun = time.monotonic()
            assert client.call("query-status")["status"] == "running"
            took = time.monotonic() - begun
            yield took, took - (us.times()[1] + control.times()[1] - waited)
        for vmm in machines:
            vmm.read_available()
        time.sleep(1)


def test_twenty_machines_that_write_all_the_time_answer_for_a_minute(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        cores = stack.enter_context(few_cores())
        machines = []
        for number in range(MACHINES):
            folder = tmp_path / str(number)
            folder.mkdir()
            words = disk(empty_image(folder / "disk"))
            machines.append((folder, stack.enter_context(started("records", folder, *words, timeout=300))))
        clients = [
            stack.enter_context(closing(Qmp(folder / "qmp", vmm.deadline))) for folder, vmm in machines
        ]
        answers = list(asked(clients, [vmm for _, vmm in machines]))
        private = [private_kib(vmm.process.pid) for _, vmm in machines]
        for client in clients:
            client.call("quit")
        ends = [vmm.finish() for _, vmm in machines]
    records = [acknowledged(output) for _, output, _ in ends]
    record_property("machines", f"{MACHINES} on {cores} cores")
    record_property("private memory of all", f"{sum(private) >> 10} MiB")
    times, own = sorted(took for took, _ in answers), max(own for _, own in answers)
    record_property("slowest answer without waits for a CPU", f"{own * 1e3:.0f} ms")
    record_property("median answer", f"{times[len(times) // 2] * 1e3:.1f} ms")
    record_property("slowest answer", f"{times[-1] * 1e3:.0f} ms")
    record_property("records written", sum(records))

    assert [(status, errors) for status, _, errors in ends] == [(0, "")] * MACHINES
    assert min(records) > 0
    disks = [folder / "disk" for folder, _ in machines]
    assert [lost_records(image, n) for image, n in zip(disks, records, strict=True)] == [[]] * MACHINES
    assert max(private) < PRIVATE_KIB_EACH
    assert own < ANSWER_S
