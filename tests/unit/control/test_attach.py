"""`stratovirt console`: bytes go both ways, and the terminal is as it was on every way out."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.unit.control.screen import Screen
from tests.unit.control.served import TIMEOUT_S, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

COMMAND = [sys.executable, "-m", "stratovirt", "console"]


class Attached:
    """The command with a machine's side of its connection."""

    def __init__(self, path: Path, stdin: int = subprocess.PIPE, *more: str | Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(TIMEOUT_S)
            self.process = subprocess.Popen(
                [*COMMAND, path, *more],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self.machine, _ = listener.accept()
        self.machine.settimeout(TIMEOUT_S)

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.close()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def hears(self, count: int) -> bytes:
        """Return what the machine receives, once it is that much."""
        data = b""
        while len(data) < count:
            piece = self.machine.recv(65536)
            assert piece, f"ended after {data!r}"
            data += piece
        return data

    def prints(self, count: int) -> bytes:
        """Return what the command prints, once it is that much."""
        assert self.process.stdout is not None
        data = b""
        while len(data) < count:
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"ended after {data!r}"
            data += piece
        return data

    def notice(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return status and what stood on stderr."""
        status = self.process.wait(TIMEOUT_S)
        assert self.process.stderr is not None
        return status, self.process.stderr.read().decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console"


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def at(screen: Screen, path: Path, *more: str | Path) -> Attached:
    attached = Attached(path, screen.line, *more)
    assert "Ctrl-A x leaves the console" in attached.notice()
    screen.wait_for(lambda: screen.is_raw)
    return attached


def test_a_terminal_is_raw_and_its_keys_reach_the_machine(screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        screen.type(b"\x03\x1a\r\x04\x01\x01")
        heard = attached.hears(5)
        attached.machine.sendall(b"hello\n")
        printed = attached.prints(6)
        attached.machine.close()
        status, errors = attached.finish()

    assert heard == b"\x03\x1a\r\x04\x01"
    assert printed == b"hello\n"
    assert status == 0
    assert "the machine has closed the console" in errors
    assert screen.mode() == screen.before


def test_ctrl_a_x_leaves_and_the_machine_learns_it(screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        screen.type(b"ls\r\x01x")
        heard = attached.hears(3)
        status, _ = attached.finish()
        rest = attached.machine.recv(1)

    assert (heard, rest, status) == (b"ls\r", b"", 0)
    assert screen.mode() == screen.before


def test_ctrl_a_x_leaves_a_machine_that_takes_nothing(screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        for _ in range(4000):
            screen.type(b"x" * 100)
        screen.type(b"\x01x")
        status, _ = attached.finish()

    assert status == 0
    assert screen.mode() == screen.before


def test_ctrl_a_h_shows_help(screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        screen.type(b"\x01h\x01x")
        _, errors = attached.finish()

    assert "leave the console; the machine runs on" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_puts_the_terminal_back(number: signal.Signals, screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        attached.process.send_signal(number)
        status, errors = attached.finish()

    assert status == 0
    assert "Traceback" not in errors
    assert screen.mode() == screen.before


def test_even_a_crash_puts_the_terminal_back(screen: Screen, path: Path) -> None:
    with at(screen, path) as attached:
        attached.process.kill()
        attached.process.wait()
        screen.wait_for(lambda: screen.mode() == screen.before)

    assert screen.mode() == screen.before


def test_pipes_carry_every_byte_both_ways(path: Path) -> None:
    data = bytes(range(256)) * 4000
    with Attached(path) as attached:
        assert attached.process.stdin is not None
        attached.process.stdin.write(data[:50000])
        attached.process.stdin.flush()
        heard = attached.hears(50000)
        sender = threading.Thread(target=attached.machine.sendall, args=(data,))
        sender.start()
        printed = attached.prints(len(data))
        sender.join()
        attached.machine.close()
        status, errors = attached.finish()

    assert heard == data[:50000]
    assert printed == data
    assert (status, errors) == (0, "")


def test_the_end_of_input_is_told_and_output_goes_on(path: Path) -> None:
    with Attached(path) as attached:
        assert attached.process.stdin is not None
        attached.process.stdin.write(b"ls\n")
        attached.process.stdin.close()
        attached.process.stdin = None
        heard = attached.hears(3)
        ended = attached.machine.recv(1)
        attached.machine.sendall(b"file\n")
        printed = attached.prints(5)
        attached.machine.close()
        status, _ = attached.finish()

    assert (heard, ended, printed, status) == (b"ls\n", b"", b"file\n", 0)


def test_it_ends_when_nobody_reads_its_output(path: Path) -> None:
    with Attached(path) as attached:
        assert attached.process.stdout is not None
        attached.process.stdout.close()
        attached.process.stdout = None
        attached.machine.sendall(b"hello\n")
        status, errors = attached.finish()

    assert (status, errors) == (0, "")


@pytest.mark.parametrize("kind", ["nothing", "a file", "a stale socket", "a long path"])
def test_what_is_no_console_is_told_with_reason_and_next_step(kind: str, path: Path) -> None:
    if kind == "a file":
        path.touch()
    elif kind == "a stale socket":
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    elif kind == "a long path":
        path = path.with_name("c" * 120)
    done = subprocess.run([*COMMAND, path], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert done.returncode == 1
    assert f"connect to console socket {path}: " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def told(screen: Screen, folder: Path) -> Iterator[tuple[Served, Attached]]:
    """Yield a machine that was told that the window is 100 by 40, and the command that told it."""
    path = folder / "console"
    with Served(folder / "qmp", console={"main": {"path": str(path)}}) as served:
        served.has_started()
        screen.resize(100, 40)
        attached = at(screen, path, "--qmp", folder / "qmp")
        assert served.did() == "window of main: 100 by 40"
        yield served, attached


def test_the_guest_is_told_the_size_of_the_window_and_each_new_one(screen: Screen, tmp_path: Path) -> None:
    with told(screen, tmp_path) as (served, attached), attached:
        screen.resize(132, 43)
        attached.process.send_signal(signal.SIGWINCH)
        second = served.did()
        attached.machine.sendall(b"its turn has come\n")
        third = served.did()
        screen.type(b"\x01x")
        status, errors = attached.finish()

    assert second == third == "window of main: 132 by 43"
    assert (status, errors) == (0, "")


def test_a_size_that_changed_while_the_command_was_stopped_is_told(screen: Screen, tmp_path: Path) -> None:
    with told(screen, tmp_path) as (served, attached), attached:
        screen.resize(80, 25)  # and nobody says so
        attached.process.send_signal(signal.SIGCONT)

        assert served.did() == "window of main: 80 by 25"


def test_a_size_that_could_not_be_told_is_said_once_and_the_console_goes_on(
    screen: Screen, tmp_path: Path
) -> None:
    with told(screen, tmp_path) as (_, attached):
        pass  # QMP ends before the console does
    with attached:
        assert attached.process.stderr is not None
        attached.process.send_signal(signal.SIGWINCH)
        said = attached.process.stderr.readline() + attached.process.stderr.readline()
        attached.process.send_signal(signal.SIGWINCH)
        screen.type(b"ls\x01x")
        heard = attached.hears(2)
        status, errors = attached.finish()

    assert b"the guest was not told the size of the window: connect to QMP socket" in said
    assert (heard, status, errors) == (b"ls", 0, "")


def test_a_machine_that_has_another_console_is_told_with_its_sockets(screen: Screen, tmp_path: Path) -> None:
    with Served(tmp_path / "qmp", console={"main": {"path": "/tmp/other.sock"}}) as served:
        served.has_started()
        command: list[str | Path] = [*COMMAND, tmp_path / "console", "--qmp", tmp_path / "qmp"]
        done = subprocess.run(
            command, stdin=screen.line, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )

    assert done.returncode == 1
    assert f"the machine has no console on {tmp_path}/console" in done.stderr
    assert "/tmp/other.sock" in done.stderr


def test_a_qmp_socket_that_nobody_serves_is_told_before_the_terminal_is_raw(
    screen: Screen, path: Path
) -> None:
    command: list[str | Path] = [*COMMAND, path, "--qmp", path.with_name("qmp")]
    done = subprocess.run(
        command, stdin=screen.line, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )

    assert done.returncode == 1
    assert "connect to QMP socket" in done.stderr
    assert "Ctrl-A" not in done.stderr
    assert screen.mode() == screen.before
