"""The long half: runs only when the marker expression names it (make soak), and keeps each test's figures.

A test says its figures by `record_property(name, value)`: a row of docs/soak.md (tests/soak/report.py).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

RESULTS = os.environ.get("STRATOVIRT_SOAK", "")  # a file of JSON lines, one for each test


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "soak" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not RESULTS or (report.when != "call" and report.passed):
        return
    row = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 1),
        "figures": dict(report.user_properties),
        "reason": str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "",
    }
    with open(RESULTS, "a") as file:
        file.write(f"{json.dumps(row, default=str)}\n")
