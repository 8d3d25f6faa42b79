"""`python -m tests.guest.rigs`: run the tests that boot Linux, shared out to two rigs where it takes rigs.

QEMU's emulation of several processors can keep what one of them has just patched away (tests/rig/README.md):
a rig, or a guest with two vCPUs in it, then hangs. So a rig that stopped is started again, and what failed in
a rig is run once more in a new one, and told; failing twice is failing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from tests.rig import host
from tests.rig.run import NO_RIG

BUILD = Path("build/guests")
CLAIMS = BUILD / "claims"
PYTEST = (".venv/bin/python", "-m", "pytest", "-v", "-m", "linux and not soak", "tests/guest")
TIMEOUT_S = "2400"
TRIES = 3
TESTS_FAILED = 1  # pytest's word
RIG_GIB = 7  # of a host's free memory, for each rig


def main() -> int:
    """Run all; return the first exit status that is not 0."""
    shutil.rmtree(BUILD, ignore_errors=True)
    CLAIMS.mkdir(parents=True)
    statuses: list[int] = []
    rigs = [
        threading.Thread(target=lambda name=name: statuses.append(run(name)))
        for name in ("A", "B")[: how_many()]
    ]
    for rig in rigs:
        rig.start()
    for rig in rigs:
        rig.join()
    return next((status for status in statuses if status != 0), 0)


def how_many() -> int:
    """Return how many rigs this host has room for; one that runs Linux guests itself needs no second."""
    free = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    room = free is not None and int(free[1]) >> 20 >= 2 * RIG_GIB
    return 2 if room and not host.runs_directly() and (os.cpu_count() or 1) > 1 else 1


def run(name: str) -> int:
    """Run the tests that nobody else has claimed; a rig that stops by itself is started again."""
    passed = BUILD / f"passed.{name}"
    environment = {
        **os.environ,
        "STRATOVIRT_RIG_NAME": name,
        "STRATOVIRT_CLAIMS": str(CLAIMS),
        "STRATOVIRT_PASSED": str(passed),
    }
    command = ["-m", "tests.rig", "linux", "--writable", "build", "--timeout", TIMEOUT_S, "--", *PYTEST]
    failed_before = False
    status = NO_RIG
    for _ in range(TRIES):
        status = _relay(name, [sys.executable, *command], environment)
        failed = status == TESTS_FAILED and not host.runs_directly()
        if status != NO_RIG and (failed_before or not failed):
            return status
        failed_before = failed_before or failed
        left = release(name, passed)
        why = "tests failed in the rig" if failed else "the rig stopped by itself"
        print(f"{name}| {why}: run in a new one: {' '.join(left) or 'the rest'}", flush=True)
    return status


def release(name: str, passed: Path) -> list[str]:
    """Give back the tests of a rig that did not pass; return them."""
    left: list[str] = []
    done = set(passed.read_text().splitlines()) if passed.exists() else set()
    for claim in CLAIMS.iterdir():
        owner, _, test = claim.read_text().partition(" ")
        if owner == name and test not in done:
            claim.unlink()
            left.append(test)
    return left


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
