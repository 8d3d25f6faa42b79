"""What guest tests need of the host, and the reason when it is not there."""

from __future__ import annotations

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a usable /dev/kvm")


# The rig can freeze: an emulated machine with a machine inside it. Whoever starts it again (Makefile, guests)
# names a file here, and what has passed is not run twice.
PASSED = os.environ.get("STRATOVIRT_PASSED", "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not PASSED or not os.path.exists(PASSED):
        return
    with open(PASSED) as file:
        passed = set(file.read().splitlines())
    done = [item for item in items if item.nodeid in passed]
    items[:] = [item for item in items if item.nodeid not in passed]
    config.hook.pytest_deselected(items=done)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if PASSED and report.when == "call" and report.passed:
        with open(PASSED, "a") as file:
            file.write(f"{report.nodeid}\n")
            file.flush()
            os.fsync(file.fileno())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if PASSED and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and os.path.exists(PASSED):
        session.exitstatus = pytest.ExitCode.OK
