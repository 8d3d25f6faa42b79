"""Linux guests that are killed again and again."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.killed import kill_after, look, make_image

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.linux, pytest.mark.soak]

KILLS = 6


@pytest.mark.parametrize("direct", [False, True], ids=["page cache", "O_DIRECT"])
def test_a_linux_guest_that_is_killed_again_and_again_loses_nothing_that_it_saw_on_the_disk(
    direct: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Record,
) -> None:
    seed = int(time.time())
    chance = random.Random(seed)
    scratch = Path(os.environ.get("STRATOVIRT_RIG_SCRATCH", tmp_path))
    image = make_image(scratch / f"killed-{seed}")
    acknowledged = 0
    for _ in range(KILLS):
        found, number = kill_after(chance.randint(1, 150), tmp_path, image, direct=direct)
        assert found >= acknowledged, f"seed {seed}"
        acknowledged = number
    left = look(tmp_path, image, direct=direct)
    image.unlink()
    record_property("seed", seed)
    record_property("kills", KILLS)
    record_property("records acknowledged", acknowledged)
    record_property("found at the end", left)

    assert left >= acknowledged
