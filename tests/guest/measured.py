"""What can be measured of a running machine from outside: its threads, its memory, how soon it answers."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.guest import tiny
from tests.guest.counts import private_kib
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from tests.guest.pauses import Pauses

# Commands that other threads have to do something for.
OF_OTHER_THREADS = {"query-iothreads", "stop"}
PROFILE = """
version = 1
[cpu]
count = {cpus}
[memory]
size = "256M"
{memory}
[boot]
kernel = "{kernel}"
cmdline = "{cmdline}"
[serial]
backend = "stdio"
[qmp]
socket = "{folder}/qmp"
[log]
file = "{folder}/log"
level = "warn"
"""


class Thread:
    """Seconds that a thread ran and that it waited for a CPU (Linux, scheduler/sched-stats.rst)."""

    def __init__(self, pid: int, tid: int) -> None:
        self._path = f"/proc/{pid}/task/{tid}/schedstat"

    def times(self) -> tuple[float, float]:
        with open(self._path) as file:
            ran, waited, _ = file.read().split()
        return int(ran) / 1e9, int(waited) / 1e9


@dataclass(frozen=True)
class Equipment:
    """What a machine has beside its vCPUs: tables of a profile, keys of [memory], an environment."""

    tables: str
    memory: str = ""
    env: Mapping[str, str] | None = None


class Machine:
    """A running tiny guest, with its QMP connection and what can be seen of its process."""

    def __init__(
        self, folder: Path, kernel: str, cmdline: str, *, cpus: int, devices: str | Equipment, timeout: float
    ) -> None:
        has = devices if isinstance(devices, Equipment) else Equipment(devices)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        for name in ("d0", "d1"):
            (folder / name).write_bytes(bytes(1 << 20))
        words = {"folder": folder, "kernel": tiny.build(kernel), "cmdline": cmdline, "cpus": cpus}
        text = (PROFILE + has.tables).format(**words, memory=has.memory)
        (folder / "vm.toml").write_text(text)
        self.vmm = Vmm("run", folder / "vm.toml", timeout=timeout, env=has.env)
        self.pid = self.vmm.process.pid
        self.qmp = Qmp(folder / "qmp", self.vmm.deadline)
        self.control = Thread(self.pid, self.pid)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.qmp.close()
        self.vmm.__exit__(kind, value, trace)

    def marks(self, kind: bytes) -> list[int]:
        """Return the numbers that the guest said between two @ after such a word, as far as it was read."""
        # Other vCPUs may have spoken in the middle of a line: such a one does not count.
        return [int(word, 16) for word in re.findall(b"@" + kind + b"([0-9a-f]{16})@", self.vmm.output)]

    def threads(self) -> dict[str, int]:
        """Return how many threads there are of each name, but for the control thread."""
        names: dict[str, int] = {}
        for task in self._tasks():
            name = self._name(task)
            if name and int(task.name) != self.pid:
                names[name] = names.get(name, 0) + 1
        return names

    def waited(self, *, with_others: bool) -> float:
        """Return the seconds that the control thread, or all threads together, have waited for a CPU."""
        if not with_others:
            return self.control.times()[1]
        total = 0.0
        for task in self._tasks():
            try:
                total += Thread(self.pid, int(task.name)).times()[1]
            except (FileNotFoundError, ProcessLookupError):
                continue  # a worker of io_uring that went
        return total

    def private_kib(self) -> int:
        """Return the private memory without the guest's, in KiB."""
        return private_kib(self.pid)

    def log_text(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def _tasks(self) -> Iterator[Path]:
        return Path(f"/proc/{self.pid}/task").iterdir()

    @staticmethod
    def _name(task: Path) -> str:
        try:
            return (task / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return ""


@dataclass(frozen=True)
class Answer:
    """What was asked, when, how long it took, and what of that somebody waited for a CPU; in seconds."""

    command: str
    begin: float
    took: float
    waited: float


class Answers:
    """How long a machine takes to answer.

    From each time is taken what its control thread, and we, waited for a CPU, and how long the CPUs stood
    still: that is the host's doing, and on a loaded one there is no other way to tell it from a machine that
    hangs. What a machine spends computing, or waiting for a lock or for another thread, counts; of a command
    that other threads have to do something for, what those waited for a CPU does not.
    """

    def __init__(self, machine: Machine, pauses: Pauses | None = None) -> None:
        self._machine = machine
        self._pauses = pauses
        self._us = Thread(os.getpid(), os.getpid())
        self.all: list[Answer] = []

    def ask(self, command: str, **arguments: object) -> None:
        """Have the machine answer, with a value or an error."""
        waited = self._waited(command)
        begin = time.monotonic()
        with contextlib.suppress(RuntimeError):
            self._machine.qmp.call(command, **arguments)
        took = time.monotonic() - begin
        self.all.append(Answer(command, begin, took, self._waited(command) - waited))

    def _waited(self, command: str) -> float:
        return self._machine.waited(with_others=command in OF_OTHER_THREADS) + self._us.times()[1]

    def _own(self, answer: Answer) -> float:
        """Return the machine's part of the time."""
        still = self._pauses.between(answer.begin, answer.begin + answer.took) if self._pauses else 0
        return answer.took - answer.waited - still

    def worst(self) -> tuple[float, str]:
        """Return the machine's part of the slowest answer, and what was asked."""
        if self._pauses:
            self._pauses.look()
        return max((self._own(answer), answer.command) for answer in self.all)

    def median(self) -> float:
        """Return what a client waits."""
        return sorted(answer.took for answer in self.all)[len(self.all) // 2]
