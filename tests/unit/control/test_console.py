"""Standard input of every kind, and a terminal that is as it was before on every way out."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.control.screen import Screen
from tests.unit.control.served import TIMEOUT_S, Served

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "qmp"


def on(screen: Screen, path: Path | None) -> Served:
    return Served(path, serial={}, stdin=screen.line)


def test_a_terminal_is_raw_but_still_processes_output(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        notice = served_notice(served)
        screen.type(b"\x03\x1a\r\x04")
        fed = served.fed(4)
        is_raw, output = screen.is_raw, termios.tcgetattr(screen.line)[1]
        served.happens("shutdown", cause="poweroff")
        served.finish()

    assert "Ctrl-A x" in notice
    assert fed == b"\x03\x1a\r\x04"
    assert is_raw
    assert output & termios.OPOST
    assert screen.mode() == screen.before


def served_notice(served: Served) -> str:
    """Return the first line on stderr, and wait until the terminal's owner listens."""
    served.has_started()
    assert served.process.stderr is not None
    line = served.process.stderr.readline().decode()
    client = served.connect()  # the socket is served after the terminal is raw
    client.close()
    return line


def test_a_terminal_is_the_guests_though_nobody_reads_what_is_said_of_it(screen: Screen, path: Path) -> None:
    unread, stderr = os.pipe()
    os.close(unread)
    with Served(path, serial={}, stdin=screen.line, stderr=stderr) as served:
        os.close(stderr)
        served.has_started()
        served.connect().close()  # the socket is served after the terminal is raw
        is_raw = screen.is_raw
        served.happens("shutdown", cause="poweroff")
        status = served.process.wait(TIMEOUT_S)

    assert (status, is_raw) == (0, True)
    assert screen.mode() == screen.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_puts_the_terminal_back(number: signal.Signals, screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        was_raw = screen.is_raw
        served.kill(number)
        status, _ = served.finish()

    assert was_raw
    assert status == 0
    assert screen.mode() == screen.before


def test_a_failure_puts_the_terminal_back(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        served.happens("vcpu-failed", "vCPU 0 stopped")
        status, _ = served.finish()

    assert status == 1
    assert screen.mode() == screen.before


@pytest.mark.parametrize("how", ["bug", "close"])
def test_a_mistake_puts_the_terminal_back(how: str, screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        client = served.connect()
        if how == "bug":
            served.happens("bug")
        else:
            served.happens("broken", how)
            client.send('{"execute":"quit"}')
        status, _ = served.finish()

    assert status == 1
    assert screen.mode() == screen.before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_even_a_crash_puts_the_terminal_back(number: signal.Signals, screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        was_raw = screen.is_raw
        served.kill(number)
        assert served.process.stderr is not None
        served.process.wait()
        screen.wait_for(lambda: screen.mode() == screen.before)

    assert was_raw
    assert screen.mode() == screen.before


def test_no_process_is_left_when_the_machine_ends(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        served.happens("shutdown", cause="poweroff")
        served.finish()

    assert len(children) == 1
    assert not os.path.exists(f"/proc/{children[0]}")


def test_ctrl_a_x_leaves(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        client = served.connect()
        screen.type(b"abc\x01x")
        *_, last = client.receive_all()
        status, _ = served.finish()

    assert last["data"] == {"guest": False, "reason": "host-ui"}
    assert status == 0
    assert screen.mode() == screen.before


def test_ctrl_a_x_leaves_a_guest_that_reads_nothing(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        served.happens("room", "0")
        for _ in range(200):
            screen.type(b"x" * 100)
        screen.type(b"\x01x")
        status, _ = served.finish()

    assert status == 0


def test_ctrl_a_h_shows_help_and_ctrl_a_twice_is_ctrl_a(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        screen.type(b"\x01h\x01\x01")
        fed = served.fed(1)
        served.happens("shutdown", cause="poweroff")
        _, errors = served.finish()

    assert fed == b"\x01"
    assert "Ctrl-A Ctrl-A" in errors


def test_a_terminal_that_was_changed_is_raw_again_after_the_process_was_stopped(
    screen: Screen, path: Path
) -> None:
    with on(screen, path) as served:
        served_notice(served)
        served.kill(signal.SIGSTOP)
        os.waitid(os.P_PID, served.process.pid, os.WSTOPPED | os.WNOWAIT)
        termios.tcsetattr(screen.line, termios.TCSANOW, screen.before)  # as a shell does
        served.kill(signal.SIGCONT)
        screen.type(b"y")
        client = served.connect()
        client.ask('{"execute":"query-status"}')
        is_raw = screen.is_raw
        served.kill(signal.SIGTERM)
        served.finish()

    assert is_raw
    assert screen.mode() == screen.before


def test_a_terminal_is_left_to_the_shell_until_the_machine_comes_to_the_foreground(
    screen: Screen, path: Path
) -> None:
    script = 'set -m; "$@" & read -r line; test "$line" = hello && fg >/dev/null'
    with Served(path, serial={}, stdin=screen.line, shell=script) as served:
        served_notice(served)
        mode_in_background = screen.mode()
        screen.type(b"hello\n")
        screen.wait_for(lambda: screen.is_raw)
        screen.type(b"k")
        fed = served.fed(1)
        served.happens("shutdown", cause="poweroff")
        status, _ = served.finish()

    assert mode_in_background == screen.before
    assert fed == b"k"
    assert status == 0
    assert screen.mode() == screen.before


def test_a_terminal_that_hangs_up_is_not_the_end_of_the_machine(screen: Screen, path: Path) -> None:
    with on(screen, path) as served:
        served_notice(served)
        os.close(screen.line)
        os.close(screen.keyboard)
        screen.line = screen.keyboard = -1
        client = served.connect()
        reply = client.ask('{"execute":"query-status"}')
        client.ask('{"execute":"quit"}')
        status, _ = served.finish()

    assert reply["return"]["running"]
    assert status == 0


def test_a_pipe_is_read_to_its_end_which_is_not_the_end_of_the_machine(path: Path) -> None:
    with Served(path, serial={}, stdin=subprocess.PIPE) as served:
        served.has_started()
        assert served.process.stdin is not None
        served.process.stdin.write(b"\x01x" * 5000)
        served.process.stdin.close()
        fed = served.fed(10_000)
        client = served.connect()
        reply = client.ask('{"execute":"query-status"}')
        client.ask('{"execute":"quit"}')
        status, errors = served.finish()

    assert fed == b"\x01x" * 5000
    assert reply["return"]["running"]
    assert (status, errors) == (0, "")


def test_a_pipe_is_read_no_faster_than_the_guest_takes_it(path: Path) -> None:
    with Served(path, serial={}, stdin=subprocess.PIPE) as served:
        served.has_started()
        served.happens("room", "0")
        assert served.connect().ask('{"execute":"query-status"}')
        assert served.process.stdin is not None
        os.set_blocking(served.process.stdin.fileno(), False)
        written = 0
        while select.select([], [served.process.stdin], [], 0.2)[1]:
            written += os.write(served.process.stdin.fileno(), b"x" * 1024)
        served.happens("room", "100")
        first = served.fed(100)
        served.happens("room", str(1 << 20))
        served.process.stdin.close()
        rest = served.fed(written - 100)

    assert written < 100_000
    assert first + rest == b"x" * written


@pytest.mark.parametrize("kind", ["file", "null"])
def test_other_kinds_of_input_work_as_well(kind: str, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"line\n" * 3000)
    fd = os.open({"file": str(file), "null": os.devnull}[kind], os.O_RDONLY)
    with Served(path, serial={}, stdin=fd) as served:
        os.close(fd)
        served.has_started()
        fed = served.fed(15_000 if kind == "file" else 0)
        client = served.connect()
        reply = client.ask('{"execute":"query-status"}')
        served.kill(signal.SIGTERM)
        ended = served.finish()

    assert fed == (b"line\n" * 3000 if kind == "file" else b"")
    assert reply["return"]["running"]
    assert ended == (0, "")


def test_a_file_waits_for_a_guest_without_room(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"x" * 2_000_000)
    with file.open() as stdin, Served(path, serial={}, stdin=stdin) as served:
        served.has_started()
        first = served.fed(1 << 20)
        served.happens("room", str(1 << 20))
        rest = served.fed(2_000_000 - (1 << 20))

    assert first + rest == b"x" * 2_000_000


def test_a_closed_standard_input_becomes_no_file_of_the_machine(path: Path) -> None:
    with Served(path, serial={}, stdin=None, shell='exec "$@" <&-') as served:
        served.has_started()
        link = os.readlink(f"/proc/{served.process.pid}/fd/0")
        client = served.connect()
        client.ask('{"execute":"quit"}')
        served.process.wait(TIMEOUT_S)

    assert link == "/dev/null"
    assert served.process.returncode == 0
