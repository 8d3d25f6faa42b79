"""Every way a machine can end: its exit status, and what is left of it (docs/ends.md)."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.machines import empty_image
from tests.guest.vmm import COMMAND, Qmp, Vmm
from tests.unit.control.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kvm

TIMEOUT_S = 20
# What a machine makes in its folder; the disk and the profile are the user's, and so is the log.
OURS = {"qmp", "pid", "console", "vsock"}
KEPT = {"disk", "vm.toml", "log"}

# The command, in which an event of the machine (the guest powers off) does something that it should not.
BROKEN = """
import os
from stratovirt import cli
from stratovirt.machine.machine import Machine

def take_events(machine):
    {deed}

Machine.take_events = take_events
cli.main()
"""


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


class Place:
    """A folder with a profile, and the machine that is started from it at a terminal."""

    def __init__(self, folder: Path, screen: Screen) -> None:
        self.folder = folder
        self.screen = screen
        self.memory = folder.with_name(f"{folder.name}-memory")
        self.memory.mkdir(exist_ok=True)
        empty_image(folder / "disk")
        self.profile = folder / "vm.toml"
        self.profile.write_text(
            f"""
version = 1
[boot]
kernel = "{tiny.build("obey")}"
[memory]
path = "{self.memory}"
share = true
[qmp]
socket = "qmp"
[process]
pidfile = "pid"
[log]
file = "log"
[serial]
[console.c]
path = "console"
[vsock]
guest_cid = 3
backend = "unix"
socket = "vsock"
[drive.d]
file = "disk"
direct = false
"""
        )

    def start(self, deed: str = "") -> Vmm:
        """Start the machine; return it when the guest obeys and the terminal is raw."""
        command = [sys.executable, "-c", BROKEN.format(deed=deed)] if deed else COMMAND
        vmm = Vmm("run", self.profile, stdin=self.screen.line, timeout=TIMEOUT_S, command=command)
        try:
            vmm.read_until(b"obeys\n")
            self.screen.wait_for(lambda: self.screen.is_raw)
        except BaseException:
            vmm.__exit__(None, None, None)
            raise
        return vmm

    def left(self) -> set[str]:
        """Return the names in the folder that are not the user's, and those where memory came from."""
        return {path.name for path in [*self.folder.iterdir(), *self.memory.iterdir()]} - KEPT

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def place(tmp_path: Path, screen: Screen) -> Place:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Place(folder, screen)


def by_signal(number: signal.Signals) -> Callable[[Vmm, Place], None]:
    return lambda vmm, _: vmm.process.send_signal(number)


def by_keys(keys: bytes) -> Callable[[Vmm, Place], None]:
    return lambda _, place: place.screen.type(keys)


def by_qmp(command: str) -> Callable[[Vmm, Place], None]:
    def call(vmm: Vmm, place: Place) -> None:
        qmp = Qmp(place.folder / "qmp", vmm.deadline)
        try:
            qmp.call(command)
        except (EOFError, ConnectionError):
            pass  # it ended before it could answer
        finally:
            qmp.close()

    return call


# How the end comes, status, what is said, and the deed of a machine that has a bug.
ENDS: dict[str, tuple[Callable[[Vmm, Place], None], int, str, str]] = {
    "SIGTERM": (by_signal(signal.SIGTERM), 0, "", ""),
    "SIGINT": (by_signal(signal.SIGINT), 0, "", ""),
    "SIGQUIT": (by_signal(signal.SIGQUIT), 0, "", ""),
    "the guest powers off": (by_keys(b"q\n"), 0, "", ""),
    "the user leaves": (by_keys(b"\x01x"), 0, "", ""),
    "quit": (by_qmp("quit"), 0, "", ""),
    "a vCPU that cannot go on": (by_keys(b"b\n"), 1, "vCPU 0 stopped at RIP 0x30000000", ""),
    "a mistake of this program": (by_keys(b"q\n"), 1, "internal error at", "raise KeyError('a mistake')"),
    "no memory while it runs": (
        by_keys(b"q\n"),
        1,
        "there is no memory for the process",
        "bytearray(1 << 62)",
    ),
}
# Ends that nothing can be done about: only the terminal is put back, by its guard.
KILLS: dict[str, tuple[Callable[[Vmm, Place], None], int, str, str]] = {
    "SIGKILL": (by_signal(signal.SIGKILL), -signal.SIGKILL, "", ""),
    "a crash": (by_signal(signal.SIGSEGV), -signal.SIGSEGV, "", ""),
    "a forbidden system call": (by_keys(b"q\n"), 159, "forbidden system call getppid", "os.getppid()"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_leaves_nothing_and_its_status_says_how_it_was(end: str, place: Place) -> None:
    how, expected, said, deed = ENDS[end]
    with place.start(deed) as vmm:
        during = place.left()
        how(vmm, place)
        status, _, errors = vmm.finish()

    assert during == OURS
    assert (status, place.left()) == (expected, set())
    assert said in errors
    assert said in place.log()
    assert "Traceback" not in errors
    assert place.screen.mode() == place.screen.before


def test_sighup_ends_a_machine_that_has_no_log_file(place: Place) -> None:
    text = place.profile.read_text().replace('[log]\nfile = "log"\n', "")
    place.profile.write_text(text)
    with place.start() as vmm:
        vmm.process.send_signal(signal.SIGHUP)
        status, _, _ = vmm.finish()

    assert (status, place.left()) == (0, set())
    assert place.screen.mode() == place.screen.before


@pytest.mark.parametrize("end", KILLS)
def test_after_an_end_without_warning_the_next_start_needs_no_manual_step(end: str, place: Place) -> None:
    how, expected, said, deed = KILLS[end]
    with place.start(deed) as vmm:
        how(vmm, place)
        status, _, errors = vmm.finish()
    place.screen.wait_for(lambda: place.screen.mode() == place.screen.before)
    left = place.left()
    with place.start() as again:
        pid = (place.folder / "pid").read_text()
        by_qmp("quit")(again, place)
        status_again, _, errors_again = again.finish()

    assert status == expected
    assert said in errors
    assert left == OURS
    assert pid == str(again.process.pid)
    assert (status_again, place.left()) == (0, set())
    assert "hint:" not in errors_again
    assert place.screen.mode() == place.screen.before


# Starts that fail for want of memory.


def limited(size: int) -> list[str]:
    """Return the command under a limit of its address space."""
    return ["prlimit", f"--as={size}", *COMMAND]


@pytest.mark.parametrize("step", ["map the guest memory", "before the first import"])
def test_a_start_without_memory_is_told_and_leaves_nothing(step: str, place: Place) -> None:
    text = place.profile.read_text()
    place.profile.write_text(text.replace("[memory]\n", '[memory]\nsize = "4G"\n'))
    if step == "before the first import":
        place.profile.write_text(text.replace(f'path = "{place.memory}"\nshare = true\n', "prealloc = true"))
    with Vmm("run", place.profile, stdin=place.screen.line, command=limited(512 << 20)) as vmm:
        status, _, errors = vmm.finish()

    assert (status, place.left()) == (1, set())
    assert errors.startswith("stratovirt: ")
    assert "memory" in errors
    assert "Traceback" not in errors
    assert place.screen.mode() == place.screen.before
