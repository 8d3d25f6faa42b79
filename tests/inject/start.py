"""A start of a machine (machines.py) in which one system call fails.

The calls are those of the program itself: from when its first module is loaded, in each thread until that is
filtered. What the interpreter does before is not ours to report; it may only not hang and leave nothing.
"""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stratovirt.core import lib
from tests.core.build import ARCH, CORE, ROOT
from tests.inject.machines import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.inject.machines import Machine

TOOL = ROOT / "build" / "inject"
SOURCE = Path(__file__).parent / "inject.c"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
NAMES = {
    lib.sv_syscall_number(name.encode()): name
    for file in (CORE / "syscall_names.h", ARCH / "arch_calls.h")
    for name in re.findall(r"CALL\((\w+)\)", file.read_text())
}
# What fails with something else than EIO. None: it cannot fail, or the C library ends the process by itself.
ERRORS: dict[str, int | None] = {
    **dict.fromkeys(("openat", "dup", "dup2", "dup3", "fcntl", "eventfd2", "epoll_create1"), errno.EMFILE),
    **dict.fromkeys(("timerfd_create", "socket", "pipe2", "io_uring_setup", "memfd_create"), errno.EMFILE),
    "socketpair": errno.EMFILE,
    **dict.fromkeys(("mmap", "mremap", "mprotect", "munmap", "madvise", "epoll_ctl"), errno.ENOMEM),
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), errno.EAGAIN),
    **dict.fromkeys(("bind", "listen", "newfstatat", "io_uring_register"), errno.EACCES),
    **dict.fromkeys(("capset", "prctl", "prlimit64", "fchmod", "setsid", "rt_sigaction"), errno.EPERM),
    **dict.fromkeys(("write", "ftruncate", "rename", "link"), errno.ENOSPC),
    "flock": errno.ENOLCK,
    "seccomp": errno.EINVAL,
    **dict.fromkeys(("futex", "uname", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid"), None),
    **dict.fromkeys(("exit", "exit_group", "execve", "rt_sigreturn", "arch_prctl", "set_tid_address"), None),
    **dict.fromkeys(("rt_sigprocmask", "set_robust_list", "rseq", "wait4", "getrandom", "brk"), None),
}  # fmt: skip
# An eventfd is full only when nobody reads its counter, which is an event then; a pipe's ends do not fail.
NEVER = {("write", "anon_inode"), ("read", "pipe"), ("close", "pipe")}
NOTICE = "stratovirt: Ctrl-A x ends the machine, Ctrl-A h shows help"  # to whoever sits at the terminal
# What is told of errors that nobody foresaw may be the name of a function: then an object stands before it.
NO_OBJECT = re.compile(r"stratovirt: (?!KVM_|memory)\w+: ")
# What a message has to name when a call on no file fails: one of the steps of such a call, or a part.
STEPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("socketpair", "clone", "fork", "setsid"), ("go into the background",)),
    **dict.fromkeys(("recvfrom", "kill"), ("interrupted before the machine ran",)),
    **dict.fromkeys(
        ("socket", "bind", "listen", "fchmod"), ("listen on QMP socket", "listen on the socket of")
    ),
    "pipe2": ("watch signals", "serve the machine"),
    "prctl": ("give up new privileges", "filter system calls"),
    "capset": ("give up the capabilities", "confine the I/O threads", "start the vCPU threads"),
    "seccomp": ("filter system calls", "confine the I/O threads", "start the vCPU threads"),
    "prlimit64": ("bound the open files",),
    "timerfd_create": ("balloon '", "console '", "drive '", "net '", "rng '", "vsock '"),
}
PARTS = (
    *STEPS["timerfd_create"],
    *(
        "KVM_",
        "vCPU",
        "pass on notifications",
        "memory",
        "iothread '",
        "I/O threads",
        "the machine in the core",
        "serial port",
        "terminal",
    ),
    *("signals", "filter system calls", "serve the machine", "load a part of the program", "the C core"),
)
SHIFTS = (0, 0, 1, -1, 2)  # in which place to meet a call: another thread, or memory, may have moved it


def steps_of(call: Call) -> tuple[str, ...]:
    """Return of what a message about a call has to name one; any message names nothing."""
    on_a_file = call.path and not call.path.startswith(("anon_inode:", "pipe:", "socket:"))
    return ("",) if on_a_file else STEPS.get(call.name, PARTS)


class Call(NamedTuple):
    """A system call of a start: the one of that index of that task."""

    task: int
    place: int
    name: str
    argument: int
    path: str

    def __str__(self) -> str:
        return f"{self.name}#{self.task}:{self.place}({self.argument:x} {self.path})"

    @property
    def kind(self) -> tuple[object, ...]:
        """What makes it another call than the others: not the module that is imported, not the vCPU."""
        place = self.path if "/stratovirt/" not in self.path and "/lib/" not in self.path else "module"
        detail = self.argument if self.name == "ioctl" else 0
        return self.task, self.name, place.replace("/proc/", "", 1), detail


class Outcome(NamedTuple):
    """What became of a start."""

    failed: bool  # the call did fail
    path: str  # of that call
    hang: bool
    status: int
    others: tuple[int, ...]  # of other processes that ended
    output: bytes
    errors: str
    left: set[str]
    terminal_is_sane: bool


def build() -> Path:
    """Return the program that makes calls fail."""
    if not TOOL.exists() or TOOL.stat().st_mtime < SOURCE.stat().st_mtime:
        TOOL.parent.mkdir(exist_ok=True)
        unfinished = TOOL.with_suffix(f".{os.environ.get('STRATOVIRT_RIG_NAME', '')}{os.getpid()}")
        subprocess.run(["gcc", *FLAGS, "-o", str(unfinished), str(SOURCE)], check=True)
        unfinished.rename(TOOL)  # two rigs share the folder
    return TOOL


class Start:
    """One start of a machine: in the foreground at a terminal, or in the background."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.folder = machine.folder

    def record(self) -> list[Call]:
        """Return the calls of a start in which none fails, those of the interpreter's own start left out."""
        self.leave_alone()
        calls = [
            Call(int(task), int(index), NAMES.get(int(number), number), int(argument, 16), path)
            for kind, task, index, number, argument, path in (
                line.split(" ", 5)
                for line in (self.folder / "report").read_text(errors="replace").split("\n")
                if line.startswith("call ")
            )
        ]
        begin = next(call.place for call in calls if self._is_first(call))
        return [
            call
            for call in calls
            if (call.task > 0 or call.place >= begin)
            and ERRORS.get(call.name, errno.EIO) is not None
            and (call.name, call.path.partition(":")[0]) not in NEVER
        ]

    def leave_alone(self) -> Outcome:
        """Start without any call that fails."""
        return self._run(Call(-1, 0, "read", 0, ""), 0)

    def _is_first(self, call: Call) -> bool:
        """Tell the first call that is of interest; the way into the background begins with two sockets."""
        if self.machine.background:
            return call.name == "socketpair"
        return call.path.endswith("stratovirt/errors.py")

    def fail(self, call: Call) -> Outcome | None:
        """Start with a call that fails; None when it was not met again."""
        error = ERRORS.get(call.name, errno.EIO)
        assert error is not None
        for shift in SHIFTS:
            outcome = self._run(call._replace(place=call.place + shift), error)
            if outcome.failed:
                return outcome
        return None

    def _run(self, call: Call, error: int) -> Outcome:
        words = self.machine.prepare()
        keyboard, line = pty.openpty()
        before = termios.tcgetattr(line)
        number = next(number for number, name in NAMES.items() if name == call.name)
        tool = [str(build()), "report", *map(str, (call.task, call.place, number, error))]
        done = subprocess.run(
            [*tool, sys.executable, "-m", "stratovirt", *words],
            stdin=line,
            capture_output=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONHASHSEED": "0",
                "PYTHONPATH": str(ROOT),
                "STRATOVIRT_LOG_LEVEL": "info",
            },
            check=False,
        )
        sane = termios.tcgetattr(line) == before
        os.close(keyboard)
        os.close(line)
        return self._outcome(done, sane=sane)

    def _outcome(self, done: subprocess.CompletedProcess[bytes], *, sane: bool) -> Outcome:
        lines = [line.split() for line in (self.folder / "report").read_text(errors="replace").splitlines()]
        ends = {int(words[1]): int(words[2]) for words in lines if words[0] == "ended"}
        failed = [words for words in lines if words[0] == "failed"]
        return Outcome(
            bool(failed),
            " ".join(failed[0][1:]) if failed else "",
            ["hang"] in lines,
            ends.pop(0, -1),
            tuple(ends.values()),
            done.stdout,
            done.stderr.decode(errors="replace"),
            self.machine.left(),
            sane,
        )


def complaints(outcome: Outcome, machine: Machine, steps: tuple[str, ...] = ("",)) -> list[str]:
    """Return what is wrong with an outcome: nothing, for a start that failed as it should or carried on.

    `steps` are what its message may name, one of them.
    """
    lines = [line for line in outcome.errors.splitlines() if line != NOTICE]
    messages = [line for line in lines if line.startswith("stratovirt: ")]
    wrong = {
        "it hangs": outcome.hang,
        f"status {outcome.status}": outcome.status not in {0, 1, 2},
        f"left behind: {outcome.left}": outcome.left,
        "the terminal is not as it was": not outcome.terminal_is_sane,
        "it shows its insides": re.search(r"Traceback|internal error|Fatal Python", outcome.errors),
        "it ends well and its guest did not run": outcome.status == 0
        and not machine.background
        and outcome.output != b"hello\n",
        "it ends well with a message": outcome.status == 0 and lines,
        "not one message": outcome.status != 0 and len(messages) != 1,
        "no next step": outcome.status != 0 and not any(line.startswith("  hint: ") for line in lines),
        "it names a function and no object": outcome.status != 0 and any(map(NO_OBJECT.match, messages)),
        "it does not name the object": outcome.status != 0
        and not all(word in " ".join(messages) for word in machine.words_for(outcome.path)),
        "it does not name the step": outcome.status != 0
        and not any(step in " ".join(messages) for step in steps),
        "the parent's status is not true": machine.background
        and (outcome.status == 0) != (bool(outcome.others) and not any(outcome.others)),
    }
    return [text for text, is_so in wrong.items() if is_so]


def sample(calls: Iterable[Call], each: int) -> list[Call]:
    """Return as many calls of each kind, spread over those that there are."""
    kinds: dict[tuple[object, ...], list[Call]] = {}
    for call in calls:
        kinds.setdefault(call.kind, []).append(call)
    return [call for found in kinds.values() for call in found[:: max(len(found) // each, 1)][:each]]


def spread(calls: list[Call], count: int) -> list[Call]:
    """Return as many calls, spread over those that there are."""
    count = min(count, len(calls))
    return [calls[number * len(calls) // count] for number in range(count)]


def record(folder: Path, kind: type[Machine], *, background: bool) -> list[Call]:
    """Return the calls of a start of a machine of that kind."""
    with kind(folder / "recorded", background=background) as machine:
        return Start(machine).record()


def run(folder: Path, kind: type[Machine], calls: list[Call], *, background: bool) -> tuple[int, list[str]]:
    """Let each of some calls fail; return how many did, and a line about each start that went wrong."""
    workers = min(len(os.sched_getaffinity(0)), AT_ONCE)
    met: list[Call] = []

    def some(worker: int) -> list[str]:
        found = []
        with kind(folder / str(worker), background=background) as machine:
            start = Start(machine)
            for call in calls[worker::workers]:
                outcome = start.fail(call)
                if outcome is None:
                    continue
                met.append(call)
                wrong = complaints(outcome, machine, steps_of(call._replace(path=outcome.path)))
                if wrong:
                    found.append(f"{call}: {'; '.join(wrong)}: {outcome.errors[-700:]!r}")
        return found

    with ThreadPoolExecutor(workers) as pool:
        wrong = [line for lines in pool.map(some, range(workers)) for line in lines]
    return len(met), wrong
