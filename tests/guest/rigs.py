"""`python -m tests.guest.rigs`: run the tests that boot Linux, shared out to two rigs where it takes rigs.

A rig has one processor, which QEMU emulates on one core of the host (tests/rig/README.md).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.guest.claims import failures
from tests.rig import host

CLAIMS = Path("build/guests.claims")
TIMEOUT_S = 2400
COMMAND = f"""
    -m tests.rig linux --writable build --timeout {TIMEOUT_S} --
    .venv/bin/python -m pytest -v --durations=60 -m "linux and not soak" tests/guest
"""
RIG_GIB = 7  # of a host's free memory, for each rig


def main() -> int:
    """Run all; return the first exit status that is not 0."""
    shutil.rmtree(CLAIMS, ignore_errors=True)
    CLAIMS.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        names = ("A", "B")[: how_many()]
        statuses = dict(zip(names, pool.map(run, names), strict=True))
    for line in epilogue(statuses, failures(CLAIMS)):
        print(line)
    return next((status for status in statuses.values() if status != 0), 0)


def epilogue(statuses: dict[str, int], failed: list[str]) -> list[str]:
    """Return what stands last, after two long reports: what failed, and how each run ended."""
    if not any(statuses.values()):
        return []
    ends = ", ".join(f"{name}| ended with status {status}" for name, status in statuses.items())
    return ["", *failed, f"{ends}; {len(failed)} failed"]


def how_many() -> int:
    """Return how many rigs this host has room for; one that runs Linux guests itself needs no second."""
    free = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    room = free is not None and int(free[1]) >> 20 >= 2 * RIG_GIB
    return 2 if room and not host.runs_directly() and (os.cpu_count() or 1) > 1 else 1


def run(name: str) -> int:
    """Run the tests that nobody else has claimed; return the exit status."""
    environment = {**os.environ, "STRATOVIRT_CLAIMS": str(CLAIMS)}
    return _relay(name, [sys.executable, *shlex.split(COMMAND)], environment)


def _relay(name: str, command: list[str], environment: dict[str, str]) -> int:
    """Run a command, and print what it says with the rig's name before each line."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{name}| {line}", end="", flush=True)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
