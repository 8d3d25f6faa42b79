"""What guest tests need of the host, and the reason when it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import again

if TYPE_CHECKING:
    import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    again.skip_without_kvm(item)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    return again.run_claimed(session)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    again.leave_out_passed(config, items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    again.note_passed(report)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    again.forgive_nothing_left(session, exitstatus)
