"""What the levels debug and trace of a running machine's log tell, and what that may cost."""

from __future__ import annotations

import re
import select
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.measured import Answers, Machine
from tests.guest.prey import DEVICES, UNIX_VSOCK
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

SECRET = "luks.passphrase=hunter2"
PROFILE = """
version = 1
cpu = {{ count = 2 }}
memory = {{ size = "256M" }}
boot = {{ kernel = "{kernel}", cmdline = "{secret}" }}
serial = {{ backend = "stdio" }}
qmp = {{ socket = "{folder}/qmp" }}
log = {{ file = "{folder}/log", level = "{level}" }}
iothread = {{ io1 = {{ cpus = [0] }} }}
drive = {{ d0 = {{ file = "{folder}/d0", direct = false, iothread = "io1" }} }}
"""
STEPS_AT_MOST, PERIOD_S = 64, 10  # of one driver, in so many seconds
ANSWER_S = 0.1
TICK_S = 0.05


def lines_of(folder: Path, level: str) -> dict[str, list[str]]:
    """Return, by level, what is logged while a guest drives its disk and a client asks for two things."""
    (folder / "d0").write_bytes(bytes(1 << 20))
    profile = folder / "vm.toml"
    profile.write_text(PROFILE.format(kernel=tiny.build("work"), folder=folder, level=level, secret=SECRET))
    with Vmm("run", profile) as vmm:
        vmm.read_until(b"@done")
        with closing(Qmp(folder / "qmp", vmm.deadline)) as qmp:
            qmp.call("query-status")
            qmp.call("quit")
        assert vmm.finish()[::2] == (0, "")
    found: dict[str, list[str]] = {}
    for line in (folder / "log").read_text().splitlines():
        match = re.fullmatch(r"[-0-9T:.]{29}: \[\d+\]\[\d+\]:([A-Z]+): (.+)", line)
        assert match, line
        found.setdefault(match[1], []).append(match[2])
    return found


def test_at_info_neither_steps_nor_drivers_are_told(tmp_path: Path) -> None:
    assert lines_of(tmp_path, "info").keys() == {"INFO"}


def test_debug_tells_what_each_step_of_a_start_made(tmp_path: Path) -> None:
    found = lines_of(tmp_path, "debug")
    told = "\n".join(found["DEBUG"])
    steps = (
        rf"QMP socket {tmp_path}/qmp: listens",
        r"filters: vCPUs 15 system calls, I/O threads 38 system calls, control thread 40 system calls",
        r"memory: 256M of the process's own, host pages of 4K, private",
        r"iothread 'io1': thread \d+, CPUs 0",
        r"drive 'd0': virtio-mmio at 0xf0100000, interrupt 5",
        r"serial port: I/O port 0x3f8, interrupt 4",
        r"drive 'slot 1': virtio-mmio at 0xf0100200, interrupt 6",
        r"kernel .*/work.bin: flat, up to 0x[0-9a-f]+, entered at 0x1000000",
        r"vCPUs: threads \d+, \d+, running",
        r"capabilities: none",
        r"the control thread is filtered; clients are served from here on",
        r"QMP: a client has come",
        r"QMP: query-status: done, after \d+\.\d ms",
        r"QMP: quit: done, after \d+\.\d ms",
    )

    assert re.search("(?s)" + ".*".join(f"^{step}$" for step in steps), told, re.MULTILINE), told
    assert SECRET not in told
    assert found.keys() == {"INFO", "DEBUG"}


def test_trace_tells_the_steps_of_a_guests_driver(tmp_path: Path) -> None:
    steps = [line.removeprefix("drive 'd0': ") for line in lines_of(tmp_path, "trace")["TRACE"]]

    assert [re.sub("0x[0-9a-f]+", "N", step) for step in steps] == [
        "the driver's status is ACKNOWLEDGE",
        "the driver's status is ACKNOWLEDGE DRIVER",
        "features N of N are agreed",
        "the driver's status is ACKNOWLEDGE DRIVER FEATURES_OK",
        "queue 0 is ready, with 8 entries",
        "the driver's status is ACKNOWLEDGE DRIVER FEATURES_OK DRIVER_OK",
    ]


def test_a_guest_that_begins_for_ever_fills_no_log_and_delays_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATOVIRT_LOG_LEVEL", "trace")
    with Machine(tmp_path, "storm", "3000", cpus=1, devices=DEVICES + UNIX_VSOCK, timeout=60) as machine:
        answers = Answers(machine)
        output = machine.vmm.process.stdout
        assert output is not None
        begin = time.monotonic()
        while b"@sound" not in machine.vmm.output:
            # As often as in an attack: the worst of 25,000 would be one of the host's pauses.
            select.select([output], [], [], TICK_S)
            machine.vmm.read_available()
            answers.ask("query-status")
        periods = (time.monotonic() - begin) // PERIOD_S + 2  # the first one began before we looked
        text = machine.log_text()

    at_most = text.count(": virtio-mmio at ") * STEPS_AT_MOST
    assert at_most // 2 < text.count(":TRACE: ") <= at_most * periods
    assert answers.worst() < (ANSWER_S, "")
