"""Runs one job inside the rig: starts the machine, carries the streams, returns the job's exit status."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import assets, qemu
from tests.rig.host import rig_memory_mib
from tests.rig.relay import FOREVER, Relay
from tests.rig.say import RigError, say
from tests.rig.shell import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from tests.rig.job import Job

BOOT_LIMIT = 300  # seconds; a quiet machine needs about 10
TIMED_OUT = 124  # what timeout(1) returns
NO_RIG = 125  # the rig failed, not the command
SCRATCH_MIB = 4096  # sparse
LAST_WORDS = {"qemu": 5, "console": 20}  # the logs shown when the rig dies, and of how many lines
SILENCE_LIMIT = 180  # seconds; the rig gives a sign of life every 5
BROKEN = {
    "gone": "ended",
    "dead": f"gave no sign of life for {SILENCE_LIMIT} s",
    "late": f"was not up in {BOOT_LIMIT} s",
}
STREAMS = ("control", "out", "err", "terminal")


def run(job: Job) -> int:
    """Run the job in a fresh rig and return its exit status."""
    if shutil.which("qemu-system-x86_64") is None:
        raise RigError("qemu-system-x86_64 is not installed", "run: python3 -m tests.rig packages rig")
    assets.prepare(["rig"])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stratovirt-rig-")))
        job.store(folder)
        _make_scratch(folder / "scratch")
        pairs = {name: socket.socketpair() for name in STREAMS}
        here = {name: stack.enter_context(pair[0]) for name, pair in pairs.items()}
        stack.enter_context(_ended_by_signals())
        machine = stack.enter_context(_machine(job, folder, {name: pair[1] for name, pair in pairs.items()}))
        relay = Relay(here["control"])
        relay.carry_out(here["out"], 1)
        relay.carry_out(here["err"], 2)
        _await_start(relay, folder)
        if job.terminal is not None:
            relay.carry_out(here["terminal"], 1)
            relay.carry_in(0, here["terminal"])
            stack.enter_context(_raw_terminal(0))
        deadline = time.monotonic() + job.timeout if job.timeout else FOREVER
        end = relay.wait(("exit",), deadline, SILENCE_LIMIT)
        _stop(machine)
        relay.drain()
        return _verdict(job, end, folder)


def _await_start(relay: Relay, folder: Path) -> None:
    first = relay.wait(("up", "fail"), time.monotonic() + BOOT_LIMIT)
    if first == "up":
        return
    raise RigError(
        f"the rig {BROKEN.get(first, first)} before it could run anything\n{_last_words(folder)}",
        "is QEMU 7.2 or newer, and the CPU not overloaded?",
    )


def _verdict(job: Job, end: str, folder: Path) -> int:
    """Turn the last control line into an exit status."""
    if end == "late":
        say(f"the rig was ended after {job.timeout:.0f} s: the command had not finished (--timeout)")
        return TIMED_OUT
    if end in BROKEN:
        say(f"the rig {BROKEN[end]} before the command finished\n{_last_words(folder)}")
        return NO_RIG
    return int(end.split()[1])


def _make_scratch(path: Path) -> None:
    """Make the rig's ext4 disk; it takes space only where it is written."""
    with path.open("wb") as image:
        image.truncate(SCRATCH_MIB << 20)
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin"}
    tool(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1", str(path)],
        env=environment,
    )


@contextmanager
def _machine(job: Job, folder: Path, there: dict[str, socket.socket]) -> Iterator[subprocess.Popen[bytes]]:
    """Start QEMU with its ends of the streams; it does not outlive the block."""
    memory = rig_memory_mib(Path("/proc/meminfo").read_text())
    wires = qemu.Wires(**{name: end.fileno() for name, end in there.items()})
    command = qemu.command(job, folder, assets.GUEST, memory, wires)
    with (folder / "qemu").open("wb") as log:
        machine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=wires.all(),
            start_new_session=True,  # the terminal's Ctrl-C is for the job
        )
    for end in there.values():
        end.close()  # so that the machine's end is an end of file here
    try:
        yield machine
    finally:
        _stop(machine)


def _stop(machine: subprocess.Popen[bytes]) -> None:
    machine.kill()
    machine.wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave by way of the clean-up when somebody ends this process."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {
        number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _raw_terminal(descriptor: int) -> Iterator[None]:
    """Hand every key to the rig, whose own terminal interprets it; give the terminal back as it was."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def _last_words(folder: Path) -> str:
    """Return the ends of what QEMU and the rig's kernel said."""
    ends = []
    for name, lines in LAST_WORDS.items():
        log = folder / name
        ends += log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
    return "\n".join(ends)
