"""Threads of each kind try what they must not: the process ends at once, and says what happened."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from array import array
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from stratovirt.core import lib
from stratovirt.sandbox import confinement, filters
from tests.core.build import TESTS, build

if TYPE_CHECKING:
    from pathlib import Path

THREADS = {"vcpu": "CPU 0/KVM", "iothread": "probe", "control": "main"}
LISTS = {"vcpu": filters.VCPU, "iothread": filters.IOTHREAD, "control": filters.CONTROL}
FORBIDDEN = (
    "execve", "clone", "clone3", "ptrace", "prctl", "socket", "mmap", "mprotect", "ioctl", "fcntl",
)  # fmt: skip
STATUS = 128 + 31  # SIGSYS
RECORD = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}): \[(\d+)\]\[(\d+)\]\[sandbox\.c: \d+\]:ERROR: (.+)\n"
)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def attempt(
    kind: str, call: str, folder: Path, *more: str, log_only: bool = False, without: str = ""
) -> tuple[int, str, str]:
    """Return status, stdout and stderr of a process in which a thread of the kind tried the call."""
    program = folder / "program"
    calls = {name: rule for name, rule in LISTS[kind].items() if name != without}
    program.write_bytes(array("Q", confinement.program(calls, log_only=log_only)).tobytes())
    words = [str(build([TESTS / "sandbox_probe.c"], "none")), kind, call, str(program), *more]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def words_of(kind: str, call: str) -> str:
    """Return what is said of a forbidden call."""
    number = lib.sv_syscall_number(call.encode())
    return f"forbidden system call {call} ({number}) in thread {THREADS[kind]}; the process ends"


def seconds_of(text: str, offset: int) -> float:
    """Return the time that a record gives, in seconds since 1970, of a zone so far from UTC."""
    whole, nanoseconds = text.split(".")
    zone = timezone(timedelta(seconds=offset))
    return datetime.fromisoformat(whole).replace(tzinfo=zone).timestamp() + int(nanoseconds) / 1e9


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_forbidden_call_ends_the_process_and_is_named(kind: str, call: str, tmp_path: Path) -> None:
    assert attempt(kind, call, tmp_path) == (STATUS, "", f"stratovirt: {words_of(kind, call)}\n")


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("offset", [0, -9000, 45900])
def test_the_line_in_the_log_has_the_shape_of_any_other(kind: str, offset: int, tmp_path: Path) -> None:
    begin = time.time()
    status, log, errors = attempt(kind, "execve", tmp_path, "text", str(offset))
    end = time.time()
    found = RECORD.fullmatch(log)

    assert (status, errors) == (STATUS, f"stratovirt: {words_of(kind, 'execve')}\n")
    assert found
    when, pid, tid, words = found.groups()
    assert begin <= seconds_of(when, offset) <= end
    assert (pid == tid) == (kind == "control")
    assert words == words_of(kind, "execve")


@pytest.mark.parametrize(
    "day", ["1970-01-01", "1999-12-31", "2000-02-29", "2024-12-31", "2027-03-01", "2028-02-29", "2028-03-01"]
)
def test_the_date_in_the_log_is_that_of_the_calendar(day: str, tmp_path: Path) -> None:
    noon = datetime.fromisoformat(f"{day}T12:00+00:00").timestamp()
    _, log, _ = attempt("control", "execve", tmp_path, "text", str(int(noon - time.time())))

    assert log[:13] in {f"{day}T11", f"{day}T12"}


@pytest.mark.parametrize("kind", THREADS)
def test_the_line_in_a_log_of_json_has_the_members_of_any_other(kind: str, tmp_path: Path) -> None:
    begin = time.time()
    _, log, _ = attempt(kind, "execve", tmp_path, "json", "3600")
    end = time.time()
    record = json.loads(log)

    assert list(record) == ["time", "level", "pid", "tid", "message"]
    assert begin <= seconds_of(record["time"], 3600) <= end
    assert (record["pid"] == record["tid"]) == (kind == "control")
    assert (record["level"], record["message"]) == ("error", words_of(kind, "execve"))


@pytest.mark.parametrize("kind", THREADS)
def test_a_filter_that_forbids_the_last_words_too_ends_the_process_all_the_same(
    kind: str, tmp_path: Path
) -> None:
    status, _, _ = attempt(kind, "execve", tmp_path, "text", "0", without="write")

    assert status == STATUS


@pytest.mark.parametrize("convention", ["x32", "i386"])
@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.skipif(sys.platform != "linux" or confinement.number_of("read") != 0, reason="is about x86")
def test_a_call_by_another_convention_ends_the_process(kind: str, convention: str, tmp_path: Path) -> None:
    assert attempt(kind, convention, tmp_path) == (-31, "", "")


@pytest.mark.parametrize("kind", THREADS)
def test_a_call_that_is_needed_is_made(kind: str, tmp_path: Path) -> None:
    assert attempt(kind, "write", tmp_path) == (0, "allowed\n", "")


@pytest.mark.parametrize("kind", THREADS)
def test_in_log_only_mode_a_forbidden_call_is_made(kind: str, tmp_path: Path) -> None:
    assert attempt(kind, "prctl", tmp_path, log_only=True) == (0, "", "")
