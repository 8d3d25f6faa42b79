"""SIGKILL in the middle of a Linux guest's writes: nothing that it saw on the disk is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.guest.killed import kill_after, look, make_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]


def test_a_new_guest_finds_every_record_that_was_acknowledged_before_the_kill(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk")
    found, acknowledged = kill_after(33, tmp_path, image, direct=False)
    left = look(tmp_path, image, direct=False)

    assert found == 0
    assert acknowledged >= 33
    assert left >= acknowledged
