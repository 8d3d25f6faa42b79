"""Tests shared out to several runs: who makes a test's file in the folder of claims runs it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

CLAIMS = os.environ.get("STRATOVIRT_CLAIMS", "")


def claim(item: pytest.Item) -> bool:
    """Tell whether a test is ours to run: nobody else has claimed it."""
    name = hashlib.sha256(item.nodeid.encode()).hexdigest()[:24]
    try:
        with open(f"{CLAIMS}/{name}", "x") as file:
            file.write(item.nodeid)
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
