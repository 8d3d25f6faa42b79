"""The long half of tests/guest/test_start_faults.py: every call fails once."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.inject import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.soak,
    pytest.mark.kvm,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the registers of x86"),
]


@pytest.mark.parametrize("background", [False, True], ids=["at a terminal", "in the background"])
def test_no_call_of_a_start_fails_without_a_word_or_leaves_anything(
    background: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    calls = start.Start(tmp_path / "0", background=background).record()
    met, wrong = start.run(tmp_path, calls, background=background)
    record_property("calls that failed", met)

    assert wrong == []
    assert met > 0.9 * len(calls)
