"""Whatever system call of a start fails: it is told in one message, or harmless, and nothing is left behind.

One call of each kind; the long half (tests/soak) has every call.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.inject import start
from tests.inject.machines import Flags, Profile, Vhost, lent

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inject.machines import Machine

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the registers of x86"),
]
WAYS = pytest.mark.parametrize("background", [False, True], ids=["at a terminal", "in the background"])
FEW = 8  # starts in a rig, where each takes 2 s: most of those on the two devices of vhost
KINDS = pytest.mark.parametrize("kind", [Profile, Flags], ids=lambda kind: kind.name)


@WAYS
@KINDS
def test_a_start_in_which_a_call_fails_says_so_or_carries_on(
    kind: type[Machine],
    background: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    with lent(kind):
        few = start.sample(start.record(tmp_path, kind, background=background), each=1)
        met, wrong = start.run(tmp_path, kind, few, background=background)

    assert wrong == []
    assert met > 0.9 * len(few)
    assert {"openat", "ioctl", "mmap", "clone3", "eventfd2", "bind", "seccomp", "capset"} <= {
        call.name for call in few
    }


@pytest.mark.linux  # in the rig, which has vhost
@WAYS
def test_a_start_with_vhost_in_which_a_call_fails_says_so_or_carries_on(
    background: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    with lent(Vhost):
        calls = start.record(tmp_path, Vhost, background=background)
        # The others are those of Flags.
        few = start.spread([call for call in calls if "/dev/vhost-" in call.path], FEW)
        met, wrong = start.run(tmp_path, Vhost, few, background=background)

    assert wrong == []
    assert met == len(few) == FEW


@WAYS
@KINDS
def test_a_start_in_which_nothing_fails_is_judged_well(
    kind: type[Machine],
    background: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    with lent(kind), kind(tmp_path / "0", background=background) as machine:
        outcome = start.Start(machine).leave_alone()

        assert start.complaints(outcome, machine) == []
    assert outcome.status == 0
