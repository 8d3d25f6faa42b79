"""Hooks of the suites that run machines: what they need of the host, and how a run goes on in a new rig."""

from __future__ import annotations

import hashlib
import os

import pytest

# The rig can freeze: an emulated machine with a machine inside it. Whoever starts it again (Makefile, guests)
# names a file here, and what has passed is not run twice.
PASSED = os.environ.get("STRATOVIRT_PASSED", "")
# Several rigs share tests out by files of this folder: who makes a test's file runs it.
CLAIMS = os.environ.get("STRATOVIRT_CLAIMS", "")
RIG_NAME = os.environ.get("STRATOVIRT_RIG_NAME", "")


def skip_without_kvm(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")


def claim(item: pytest.Item) -> bool:
    """Tell whether a test is ours to run: nobody else has claimed it."""
    if not CLAIMS:
        return True
    name = hashlib.sha256(item.nodeid.encode()).hexdigest()[:24]
    try:
        with open(f"{CLAIMS}/{name}", "x") as file:
            file.write(f"{RIG_NAME} {item.nodeid}")
    except FileExistsError:
        return False
    return True


def run_claimed(session: pytest.Session) -> bool | None:
    """Run what nobody else has claimed, one claim ahead: pytest tears down by what comes next."""
    if not CLAIMS or session.config.option.collectonly:
        return None
    ours = (item for item in session.items if claim(item))
    item = next(ours, None)
    while item is not None:
        following = next(ours, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following
    return True


def leave_out_passed(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not PASSED or not os.path.exists(PASSED):
        return
    with open(PASSED) as file:
        passed = set(file.read().splitlines())
    done = [item for item in items if item.nodeid in passed]
    items[:] = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=done)


def note_passed(report: pytest.TestReport) -> None:
    if PASSED and report.when == "call" and report.passed:
        append(PASSED, report.nodeid)


def append(path: str, line: str) -> None:
    """Write a line to a file that outlives a rig which freezes."""
    with open(path, "a") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def forgive_nothing_left(session: pytest.Session, exitstatus: int) -> None:
    if PASSED and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and os.path.exists(PASSED):
        session.exitstatus = pytest.ExitCode.OK
