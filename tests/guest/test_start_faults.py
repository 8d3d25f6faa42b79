"""Whatever system call of a start fails: it is told in one message, or harmless, and nothing is left behind.

One call of each kind; the long half (tests/soak) has more of each.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.inject import start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the registers of x86"),
]


@pytest.mark.parametrize("background", [False, True], ids=["at a terminal", "in the background"])
def test_a_start_in_which_a_call_fails_says_so_or_carries_on(background: bool, tmp_path: Path) -> None:  # noqa: FBT001
    calls = start.Start(tmp_path / "0", background=background).record()
    few = start.sample(calls, each=1)
    met, wrong = start.run(tmp_path, few, background=background)

    assert wrong == []
    assert met > 0.9 * len(few)
    assert {"openat", "ioctl", "mmap", "clone3", "eventfd2", "bind", "seccomp", "capset"} <= {
        call.name for call in few
    }


@pytest.mark.parametrize("background", [False, True], ids=["at a terminal", "in the background"])
def test_a_start_in_which_nothing_fails_is_judged_well(background: bool, tmp_path: Path) -> None:  # noqa: FBT001
    outcome = start.Start(tmp_path, background=background).leave_alone()

    assert start.complaints(outcome, background=background) == []
    assert outcome.status == 0
