"""From exec to the guest's first serial byte, and the private memory of the process once QMP answers."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench import peers
from tests.guest import tiny
from tests.guest.counts import private_kib, resident_kib
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable

    CommandLine = Callable[[Path, Path], list[str]]

TIMEOUT_S = 30


class Start(NamedTuple):
    """Of one start: how long until the first serial byte, and memory without guest RAM once QMP answered."""

    milliseconds: float
    private_mib: float
    resident_mib: float


def start_once(command: CommandLine) -> Start:
    """Start a tiny guest, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "qmp")
        words = command(tiny.build_pvh("pvh_hello"), socket)
        begin = time.perf_counter()
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                byte = os.read(process.stdout.fileno(), 1)
                milliseconds = (time.perf_counter() - begin) * 1e3
                assert byte == b"!", f"{words[0]} said {byte!r}"
                memory = _memory_once_qmp_answers(process.pid, socket)
            finally:
                process.kill()
        return Start(milliseconds, *memory)


def _memory_once_qmp_answers(pid: int, socket: Path) -> tuple[float, float]:
    qmp = Qmp(socket, time.monotonic() + TIMEOUT_S)
    qmp.call("qmp_capabilities")
    qmp.call("query-status")
    memory = private_kib(pid) / 1024, resident_kib(pid) / 1024
    qmp.close()
    return memory


def run_once(words: list[str]) -> float:
    """Return milliseconds from exec to the end of a command that is to succeed."""
    begin = time.perf_counter()
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begin) * 1e3


class Round(NamedTuple):
    """One of each, after another."""

    ours: Start
    profile: Start
    qemu: Start
    bare: float  # the interpreter that does nothing
    check: float
    grouped: Start
    one_by_one: Start


def rounds(count: int) -> list[Round]:
    """Return `count` rounds after one that is not counted."""
    return [_round() for _ in range(count + 1)][1:]


def _round() -> Round:
    return Round(
        ours=start_once(peers.ours),
        profile=start_once(peers.profile),
        qemu=start_once(peers.qemu),
        bare=run_once(peers.BARE),
        check=run_once(peers.CHECK),
        grouped=start_once(peers.grouped),
        one_by_one=start_once(peers.one_by_one),
    )
