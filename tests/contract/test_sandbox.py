"""The lists of system calls: how long they are, what they name, and what their programs let through."""

from __future__ import annotations

import re
import sys

import pytest

from stratovirt.core import lib
from stratovirt.sandbox import confinement, filters
from tests.core.build import CORE

LISTS = {"vcpu": filters.VCPU, "iothread": filters.IOTHREAD, "control": filters.CONTROL}
CALLS_AT_MOST = {"vcpu": 19, "iothread": 40, "control": 40}
STEPS_AT_MOST = 512  # the core's SANDBOX_MAX_STEPS
AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64 = 0xC000003E, 0xC00000B7  # linux/audit.h
IS_X86_64 = sys.platform == "linux" and confinement.number_of("read") == 0
HERE = AUDIT_ARCH_X86_64 if IS_X86_64 else AUDIT_ARCH_AARCH64
I386 = 0x40000003
X32 = 0x40000000


def verdict(program: list[int], number: int, *arguments: int, architecture: int = HERE) -> int:
    """Run a program as the kernel does; jumps out of it are an error."""
    data = {0: number, 4: architecture}
    for index, argument in enumerate(arguments):
        data[16 + 8 * index], data[20 + 8 * index] = argument & 0xFFFFFFFF, argument >> 32
    at, accumulator = 0, 0
    while True:
        step = program[at]
        code, if_true, if_false, k = step & 0xFFFF, step >> 16 & 0xFF, step >> 24 & 0xFF, step >> 32
        at += 1
        if code == 0x06:
            return k
        if code == 0x20:
            accumulator = data.get(k, 0)
            continue
        tests = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}
        at += if_true if tests[code] else if_false


def answers(kind: str, call: str, *arguments: int) -> bool:
    """Tell whether a thread of the kind may make the call; it is stopped by a trap if not."""
    program = confinement.program(LISTS[kind], log_only=False)
    answer = verdict(program, lib.sv_syscall_number(call.encode()), *arguments)
    assert answer in {lib.SECCOMP_RET_ALLOW, lib.SECCOMP_RET_TRAP}
    return answer == lib.SECCOMP_RET_ALLOW


@pytest.mark.parametrize("kind", LISTS)
def test_no_list_is_longer_than_promised(kind: str) -> None:
    assert len(LISTS[kind]) <= CALLS_AT_MOST[kind]
    assert len(confinement.program(LISTS[kind], log_only=False)) <= STEPS_AT_MOST


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_names_what_every_architecture_has_or_has_a_successor_for(kind: str) -> None:
    common = set(re.findall(r"CALL\((\w+)\)", (CORE / "syscall_names.h").read_text()))
    alien = {call for call in LISTS[kind] if not {call, filters.SUCCESSORS.get(call)} & common}

    assert alien == set()


@pytest.mark.parametrize("kind", LISTS)
def test_all_that_a_list_names_is_let_through(kind: str) -> None:
    for call, rule in LISTS[kind].items():
        argument, by_word, words = rule or (0, False, ())
        for value in [getattr(lib, word) for word in words] if by_word else [0]:
            arguments = [0] * 6
            arguments[argument] = value
            assert answers(kind, call, *arguments), (call, value)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(
    "call",
    [
        "execve", "execveat", "clone", "clone3", "fork", "ptrace", "prctl", "capset", "prlimit64", "bind",
        "bpf", "io_uring_setup", "io_uring_register",
    ],
)  # fmt: skip
def test_what_nobody_needs_is_forbidden_to_all(kind: str, call: str) -> None:
    assert not answers(kind, call)


@pytest.mark.parametrize("kind", LISTS)
def test_no_thread_makes_memory_executable(kind: str) -> None:
    read, write, run = 1, 2, lib.PROT_EXEC

    for call in ("mmap", "mprotect"):
        assert answers(kind, call, 0, 4096, read | write) == (call in LISTS[kind])
        for protection in (run, read | run, read | write | run):
            assert not answers(kind, call, 0, 4096, protection)


def test_a_vcpu_only_runs_its_guest_and_looks_at_its_registers() -> None:
    assert answers("vcpu", "ioctl", 5, lib.KVM_RUN)
    assert answers("vcpu", "ioctl", 5, lib.SV_DESCRIBE_IOCTL)
    assert not answers("vcpu", "ioctl", 5, lib.KVM_SET_USER_MEMORY_REGION)
    assert not answers("vcpu", "openat")
    assert not answers("vcpu", "socket", lib.AF_UNIX)


def test_sockets_are_for_iothreads_and_stay_on_this_host() -> None:
    inet, netlink = 2, 16

    assert answers("iothread", "socket", lib.AF_UNIX)
    assert not answers("iothread", "socket", inet)
    assert not answers("iothread", "socket", netlink)
    assert not answers("control", "socket", lib.AF_UNIX)


def test_files_are_opened_by_the_control_thread_only() -> None:
    assert answers("control", "openat")
    assert not answers("iothread", "openat")


def test_an_argument_of_which_the_kernel_reads_half_is_compared_by_that_half() -> None:
    high = 1 << 32

    assert answers("vcpu", "ioctl", 5, high | lib.KVM_RUN)
    assert not answers("iothread", "fcntl", 5, high | lib.F_SETFL)


def test_calls_of_another_architecture_end_the_process() -> None:
    program = confinement.program(LISTS["vcpu"], log_only=False)
    write = confinement.number_of("write")

    assert verdict(program, write) == lib.SECCOMP_RET_ALLOW
    assert verdict(program, write, architecture=I386) == lib.SECCOMP_RET_KILL_PROCESS
    assert verdict(program, write | X32) == lib.SECCOMP_RET_KILL_PROCESS
    assert verdict(program, 0xFFFFFFFF) == lib.SECCOMP_RET_KILL_PROCESS


def test_log_only_mode_stops_nothing() -> None:
    program = confinement.program(LISTS["vcpu"], log_only=True)

    assert verdict(program, confinement.number_of("write")) == lib.SECCOMP_RET_ALLOW
    for number, architecture in ((59, HERE), (4, I386), (X32, HERE)):
        assert verdict(program, number, architecture=architecture) == lib.SECCOMP_RET_LOG
