"""The long half of tests/guest/test_start_faults.py: every call fails once."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.inject import start
from tests.inject.machines import Flags, Profile, Vhost, lent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.inject.machines import Machine

pytestmark = [
    pytest.mark.soak,
    pytest.mark.kvm,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the registers of x86"),
]
WAYS = pytest.mark.parametrize("background", [False, True], ids=["at a terminal", "in the background"])
OTHERS = 40  # calls that are those of Flags too; in a rig each start takes 2 s


@WAYS
@pytest.mark.parametrize("kind", [Profile, Flags], ids=lambda kind: kind.name)
def test_no_call_of_a_start_fails_without_a_word_or_leaves_anything(
    kind: type[Machine],
    background: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with lent(kind):
        calls = start.record(tmp_path, kind, background=background)
        met, wrong = start.run(tmp_path, kind, calls, background=background)
    record_property("calls that failed", met)

    assert wrong == []
    assert met > 0.97 * len(calls)


@pytest.mark.linux  # in the rig, which has vhost
@WAYS
def test_no_call_of_a_start_with_vhost_fails_without_a_word_or_leaves_anything(
    background: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with lent(Vhost):
        calls = start.record(tmp_path, Vhost, background=background)
        some = [call for call in calls if "/dev/vhost-" in call.path]
        some += start.spread([call for call in calls if call not in some], OTHERS)
        met, wrong = start.run(tmp_path, Vhost, some, background=background)
    record_property("calls that failed", met)

    assert wrong == []
    assert met > 0.9 * len(some)
