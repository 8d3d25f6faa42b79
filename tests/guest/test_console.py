"""Consoles with Linux's own driver: hvc0 and hvc1 in the guest, sockets and their clients on the host."""

from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import SMALL, TIMEOUT_S, flags, words
from tests.guest.vmm import COMMAND, Qmp, Vmm
from tests.unit.control.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

SHELL = """
echo this is hvc0 >/dev/hvc0
echo this is hvc1 >/dev/hvc1
setsid sh </dev/hvc0 >/dev/hvc0 2>&1 &
echo SHELL-READY
read word </dev/ttyS0
"""

SIZE = """
exec 3<>/dev/hvc0
echo hello >&3
for wanted in "40 100" "25 80"; do
for try in $(seq 60); do
size=$(stty size <&3)
[ "$size" = "$wanted" ] && break
sleep 1
done
echo SIZE $size
done
"""

NUMBERS = 100000
FLOOD = f"""
read word </dev/ttyS0
seq 1 {NUMBERS} >/tmp/numbers
exec 3<>/dev/hvc0
stty raw <&3
echo FLOOD-BEGINS
cat /tmp/numbers >&3
echo FLOOD-ENDS
read word </dev/ttyS0
"""
FLOODED = "".join(f"{number}\n" for number in range(1, NUMBERS + 1)).encode()


class Client:
    """A client of a console's socket."""

    def __init__(self, path: Path, deadline: Vmm) -> None:
        self._vmm = deadline
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))

    def receive(self) -> bytes:
        self.socket.settimeout(self._vmm.left())
        piece = self.socket.recv(65536)
        assert piece, "the machine closed the console"
        return piece

    def read_until(self, wanted: bytes) -> bytes:
        heard = b""
        while wanted not in heard:
            heard += self.receive()
        return heard

    def ask(self, line: str, answer: bytes) -> None:
        self.socket.sendall(line.encode() + b"\n")
        self.read_until(answer)

    def close(self) -> None:
        self.socket.close()


def machine(script: str, folder: Path, *consoles: str) -> Vmm:
    devices: list[str | Path] = [
        word for name in consoles for word in ("-chardev", f"id={name},path={folder / name}")
    ]
    return Vmm(
        *flags(SMALL, words(script), folder / "qmp", *devices),
        stdin=subprocess.PIPE,
        timeout=TIMEOUT_S,
    )


def go_on(vmm: Vmm) -> None:
    assert vmm.process.stdin is not None
    vmm.process.stdin.write(b"go\n")
    vmm.process.stdin.flush()


@pytest.mark.guidebook("2.4 console_id", "2.4 socket_path")
def test_a_shell_answers_each_client_after_another(tmp_path: Path) -> None:
    with machine(SHELL, tmp_path, "first", "second") as vmm:
        vmm.read_until(b"SHELL-READY")
        modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("first", "second")}
        second = Client(tmp_path / "second", vmm)
        second.read_until(b"this is hvc1\r\n")  # said before anybody was there
        for number in range(3):
            client = Client(tmp_path / "first", vmm)
            if number == 0:
                client.read_until(b"this is hvc0\r\n")
            client.ask(f"echo $((6 * 7)) {number}", f"42 {number}\r\n".encode())
            client.close()
        second.close()
        go_on(vmm)
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert modes == {0o600}
    assert not (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()


@pytest.mark.guidebook("2.4 console_id")
def test_eight_consoles_are_hvc0_to_hvc7_in_their_order(tmp_path: Path) -> None:
    say = "for n in 0 1 2 3 4 5 6 7; do echo this is hvc$n >/dev/hvc$n; done"
    names = [f"console{number}" for number in range(8)]
    with machine(f"{say}\necho SAID\nread word </dev/ttyS0\n", tmp_path, *names) as vmm:
        vmm.read_until(b"SAID")
        for number, name in enumerate(names):
            client = Client(tmp_path / name, vmm)
            client.read_until(f"this is hvc{number}\r\n".encode())
            client.close()
        go_on(vmm)
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")


def test_the_console_command_talks_to_the_shell(tmp_path: Path) -> None:
    with machine(SHELL, tmp_path, "first", "second") as vmm:
        vmm.read_until(b"SHELL-READY")
        with subprocess.Popen(
            [*COMMAND, "console", tmp_path / "first"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as command:
            assert command.stdin is not None
            assert command.stdout is not None
            command.stdin.write(b"echo $((6 * 7))\n")
            command.stdin.close()
            command.stdin = None
            line = b""
            while line.strip() != b"42":
                line = command.stdout.readline()
                assert line
            go_on(vmm)
            vmm.finish()
            status = command.wait(vmm.left())

    assert status == 0


def test_a_client_that_pauses_loses_nothing(tmp_path: Path) -> None:
    with machine(FLOOD, tmp_path, "first") as vmm:
        vmm.read_until(b"SV-READY")
        client = Client(tmp_path / "first", vmm)
        go_on(vmm)
        vmm.read_until(b"FLOOD-BEGINS")
        with pytest.raises(subprocess.TimeoutExpired):
            vmm.process.wait(timeout=3)
        heard = client.read_until(b"")
        while len(heard) < len(FLOODED):
            heard += client.receive()
        vmm.read_until(b"FLOOD-ENDS")
        client.close()
        go_on(vmm)
        status, _, _ = vmm.finish()

    assert heard == FLOODED
    assert status == 0


def test_a_client_that_never_reads_does_not_stop_the_machine(tmp_path: Path) -> None:
    with machine(FLOOD, tmp_path, "first") as vmm:
        vmm.read_until(b"SV-READY")
        client = Client(tmp_path / "first", vmm)
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        qmp.call("qmp_capabilities")
        go_on(vmm)
        vmm.read_until(b"FLOOD-BEGINS")
        asked = 0
        assert vmm.process.stdout is not None
        while b"FLOOD-ENDS" not in vmm.output:  # it waits for the client at first, on its only processor
            assert qmp.call("query-status")["status"] == "running"
            asked += 1
            if select.select([vmm.process.stdout], [], [], 0.5)[0]:
                vmm.output += os.read(vmm.process.stdout.fileno(), 65536)
        heard = client.read_until(f"\n{NUMBERS}\n".encode())
        qmp.close()
        client.close()
        go_on(vmm)
        status, _, _ = vmm.finish()

    assert asked >= 10
    assert heard[:1000] == FLOODED[:1000]
    assert heard[-60000:] == FLOODED[-60000:]
    assert len(heard) < len(FLOODED)
    assert status == 0


def test_the_size_of_a_window_reaches_the_terminal_of_the_guest(tmp_path: Path) -> None:
    with machine(SIZE, tmp_path, "first") as vmm, closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
        # As soon as the machine runs: its driver is not there yet.
        qmp.call("chardev-window-size-changed", id="first", cols=100, rows=40)
        vmm.read_until(b"SIZE 40 100")
        with closing(Screen()) as screen:
            screen.resize(80, 25)
            command = [*COMMAND, "console", str(tmp_path / "first"), "--qmp", str(tmp_path / "qmp")]
            line = screen.line
            with subprocess.Popen(command, stdin=line, stdout=line, stderr=line) as console:
                try:
                    status, output, errors = vmm.finish()
                    end = console.wait(vmm.left())
                finally:
                    console.kill()

    assert (status, errors, end) == (0, "", 0)
    assert b"SIZE 25 80" in output
