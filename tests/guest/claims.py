"""Tests shared out to several runs: who makes a test's file in the folder of claims runs it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CLAIMS = os.path.abspath(os.environ["STRATOVIRT_CLAIMS"]) if os.environ.get("STRATOVIRT_CLAIMS") else ""
FAILED = ".failed"
REASON_CHARACTERS = 700


def claim(item: pytest.Item) -> bool:
    """Tell whether a test is ours to run: nobody else has claimed it."""
    try:
        with open(f"{CLAIMS}/{_name(item.nodeid)}", "x") as file:
            file.write(item.nodeid)
    except FileExistsError:
        return False
    return True


def note_failure(report: pytest.TestReport) -> None:
    """Leave what failed, and why, beside the claims: `failures` tells it after all that a run prints."""
    if CLAIMS and report.failed:
        with open(f"{CLAIMS}/{_name(report.nodeid)}{FAILED}", "a", errors="backslashreplace") as file:
            file.write(f"{report.nodeid} ({report.when})\n{_reason(report)}\n")


def failures(folder: Path) -> list[str]:
    """Return what every run has left with `note_failure`, an entry each."""
    return [note.read_text().rstrip() for note in sorted(folder.glob(f"*{FAILED}"))]


def _name(nodeid: str) -> str:
    return hashlib.sha256(nodeid.encode()).hexdigest()[:24]


def _reason(report: pytest.TestReport) -> str:
    """Return the place and the first lines of what was asserted or raised."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return report.longreprtext[-REASON_CHARACTERS:]
    return f"{crash.path}:{crash.lineno}: {crash.message}"[:REASON_CHARACTERS]


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
