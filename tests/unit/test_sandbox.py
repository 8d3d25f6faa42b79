"""Threads of each kind try what they must not: the process ends at once, and says what happened."""

from __future__ import annotations

import shutil
import subprocess
import sys
from array import array
from typing import TYPE_CHECKING

import pytest

from stratovirt import sandbox
from stratovirt.core import lib
from stratovirt.sandbox import filters
from tests.core.build import TESTS, build

if TYPE_CHECKING:
    from pathlib import Path

THREADS = {"vcpu": "CPU 0/KVM", "iothread": "probe", "control": "main"}
LISTS = {"vcpu": filters.VCPU, "iothread": filters.IOTHREAD, "control": filters.CONTROL}
FORBIDDEN = (
    "execve", "clone", "clone3", "ptrace", "prctl", "socket", "mmap", "mprotect", "ioctl", "fcntl",
)  # fmt: skip
STATUS = 128 + 31  # SIGSYS

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def attempt(kind: str, call: str, folder: Path, *, log_only: bool = False) -> tuple[int, str, str]:
    """Return status, stdout and stderr of a process in which a thread of the kind tried the call."""
    program = folder / "program"
    program.write_bytes(array("Q", sandbox.program(LISTS[kind], log_only=log_only)).tobytes())
    words = [str(build([TESTS / "sandbox_probe.c"], "none")), kind, call, str(program)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_forbidden_call_ends_the_process_and_is_named(kind: str, call: str, tmp_path: Path) -> None:
    number = lib.sv_syscall_number(call.encode())
    line = (
        f"stratovirt: forbidden system call {call} ({number}) in thread {THREADS[kind]}; the process ends\n"
    )

    assert attempt(kind, call, tmp_path) == (STATUS, "", line)


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.skipif(sys.platform != "linux" or sandbox.number_of("read") != 0, reason="is about x86")
def test_a_call_by_another_convention_ends_the_process(kind: str, tmp_path: Path) -> None:
    assert attempt(kind, "x32", tmp_path) == (-31, "", "")


@pytest.mark.parametrize("kind", THREADS)
def test_a_call_that_is_needed_is_made(kind: str, tmp_path: Path) -> None:
    assert attempt(kind, "write", tmp_path) == (0, "allowed\n", "")


@pytest.mark.parametrize("kind", THREADS)
def test_in_log_only_mode_a_forbidden_call_is_made(kind: str, tmp_path: Path) -> None:
    assert attempt(kind, "prctl", tmp_path, log_only=True) == (0, "", "")
