"""Clients that mean no good, and a machine that runs."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from tests.guest.assault import Assault
from tests.guest.measured import Answers, Machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

SECONDS = 8
SERVED_S = 0.1
DEVICES = """
[drive.d0]
file = "{folder}/d0"
direct = false
[console.c0]
path = "{folder}/c0"
[vsock]
guest_cid = 7
backend = "unix"
socket = "{folder}/vs"
"""
CLIENTS = 1000


def test_mutated_messages_cost_a_running_machine_nothing(tmp_path: Path) -> None:
    with Assault(tmp_path, seed=1, timeout=60) as assault:
        assault.go_on(seconds=SECONDS)
        assault.end()

    assert assault.messages > 5000
    assault.check(SERVED_S)


@pytest.mark.parametrize("name", ["c0", "vs"])
def test_a_thousand_clients_of_a_console_or_of_vsock_come_and_go(name: str, tmp_path: Path) -> None:
    with Machine(tmp_path, "work", "", cpus=1, devices=DEVICES, timeout=60) as machine:
        answers = Answers(machine)
        machine.vmm.read_until(b"@done")
        _come_and_go(tmp_path / name, 10)
        before = machine.private_kib()
        descriptors = len(os.listdir(f"/proc/{machine.pid}/fd"))
        for _ in range(CLIENTS // 50):
            _come_and_go(tmp_path / name, 50)
            answers.ask("query-status")
        machine.vmm.read_available()
        machine.vmm.output = b""
        machine.vmm.read_until(b"@done")

        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert answers.worst() < (SERVED_S, "")
        assert machine.private_kib() - before < 512
        assert len(os.listdir(f"/proc/{machine.pid}/fd")) <= descriptors + 1
        assert machine.log_text() == ""


def _come_and_go(path: Path, count: int) -> None:
    """Connect, say something that means nothing, and leave: in order, half, or torn off."""
    for number in range(count):
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)  # noqa: FBT003
            try:
                client.connect(str(path))
                client.send((b"x", b"CONNECT 99999999999\n", b"CONNECT 1\n", b"\0" * 100_000)[number % 4])
                if number % 3 == 0:
                    client.shutdown(socket.SHUT_WR)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                continue  # as many as can wait do already
