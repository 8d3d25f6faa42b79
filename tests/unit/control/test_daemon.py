"""The way into the background, and what becomes of a start whose parent does not wait for it."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.control.served import TIMEOUT_S, Served

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

INTERRUPTED = "stratovirt: interrupted before the machine ran; its start is given up\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the QMP socket is."""
    return tmp_path / "qmp"


@pytest.fixture
def pidfile(tmp_path: Path) -> Iterator[Path]:
    """Return where the pidfile is; whoever still holds it at the end is killed."""
    file = tmp_path / "pid"
    yield file
    if file.exists():
        os.kill(int(file.read_text()), signal.SIGKILL)


def in_background(path: Path, pidfile: Path, **options: Any) -> Served:
    return Served(path, process={"daemonize": True, "pidfile": str(pidfile)}, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_parent_that_is_interrupted_says_so_and_takes_the_start_with_it(
    number: signal.Signals, path: Path, pidfile: Path
) -> None:
    with in_background(path, pidfile, held=True) as served:
        served.is_built()
        served.kill(number)
        served.process.wait(TIMEOUT_S)
        left = sorted(entry.name for entry in path.parent.iterdir())
        asked = served.did_at_last()
        status, errors = served.finish()

    assert (status, errors.splitlines(keepends=True)[0]) == (1, INTERRUPTED)
    assert errors.splitlines()[1:] == ["  hint: start it again"]
    assert asked == []
    assert left == []


def test_a_start_whose_parent_was_killed_ends_when_it_would_run(path: Path, pidfile: Path) -> None:
    with in_background(path, pidfile, held=True) as served:
        served.is_built()
        served.kill(signal.SIGKILL)
        served.process.wait()
        served.goes_on()
        asked = served.did_at_last()

    assert asked == ["start", "close"]
    assert sorted(path.parent.iterdir()) == []


def test_a_parent_that_is_interrupted_once_the_machine_runs_ended_well_before(
    path: Path, pidfile: Path
) -> None:
    with in_background(path, pidfile) as served:
        served.has_started()
        served.kill(signal.SIGINT)
        status, errors = served.finish()
        if status == 0:
            assert served.connect().ask('{"execute":"quit"}') == {"return": {}}
        asked = served.did_at_last()

    assert asked == ["close"]
    assert (status, errors) in {(0, ""), (1, f"{INTERRUPTED}  hint: start it again\n")}


def test_a_start_that_a_signal_ends_is_told_by_the_parent(path: Path, pidfile: Path) -> None:
    with in_background(path, pidfile, held=True) as served:
        os.kill(served.is_built(), signal.SIGTERM)
        asked = served.did_at_last()
        status, errors = served.finish()

    assert status == 1
    assert errors.startswith(
        "stratovirt: a signal ended the process in the background before the machine ran\n"
    )
    assert asked == []
    assert sorted(path.parent.iterdir()) == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of write on x86")
def test_the_parent_ends_only_after_the_reason_has_been_read(path: Path, pidfile: Path) -> None:
    output, stderr = os.pipe()
    os.set_blocking(stderr, False)
    filling = 0
    with in_background(path, pidfile, held=True, stderr=stderr) as served:
        child = served.is_built()
        try:
            while True:
                filling += os.write(stderr, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(stderr, True)
            os.close(stderr)
        served.fails()
        wait_until_it_writes_to_stderr(child)
        parent_waits = not ended_within(served.process, 0.1)
        errors = b""
        while piece := os.read(output, 65536):
            errors += piece
        status = served.process.wait(TIMEOUT_S)
    os.close(output)

    assert parent_waits
    assert status == 1
    assert errors[filling:] == b"stratovirt: it cannot be built\n  hint: try again\n"


def wait_until_it_writes_to_stderr(pid: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not Path(f"/proc/{pid}/syscall").read_text().startswith("1 0x2 "):
        assert time.monotonic() < deadline, "it never wrote"
        select.select([], [], [], 0.002)  # only another look can tell


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    descriptor = os.pidfd_open(process.pid)
    ready, _, _ = select.select([descriptor], [], [], seconds)
    os.close(descriptor)
    return bool(ready)


def test_the_failure_of_a_child_is_its_own_when_the_parent_is_gone(
    path: Path, pidfile: Path, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    with in_background(path, pidfile, held=True, log={"file": str(file)}) as served:
        served.is_built()
        served.kill(signal.SIGKILL)
        served.process.wait()
        served.fails()
        asked = served.did_at_last()
        errors = served.error_text()

    assert errors == "stratovirt: it cannot be built\n  hint: try again\n"
    assert file.read_text().endswith("it cannot be built (try again)\n")
    assert len(file.read_text().splitlines()) == 1
    assert asked == []


def test_the_process_leads_no_session_and_keeps_what_it_inherited(path: Path, pidfile: Path) -> None:
    given, kept = os.pipe()
    with in_background(path, pidfile, held=True, fds=(kept,)) as served:
        os.close(kept)
        child = served.is_built()
        session = os.getsid(child)
        served.goes_on()
        assert served.finish() == (0, "")
        served.has_started()
        there = os.readlink(f"/proc/{child}/fd/{kept}")
        same = os.readlink(f"/proc/self/fd/{given}")
        served.happens("shutdown", cause="poweroff")
        asked = served.did_at_last()
        ended = os.read(given, 1)
    os.close(given)

    assert session not in {child, os.getsid(0), served.process.pid}
    assert there == same
    assert asked == ["close"]
    assert ended == b""
