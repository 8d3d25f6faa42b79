"""The fuzz targets of the C core with a seed that nobody has chosen: `make fuzz` for longer."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.run import run, targets

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]

SECONDS = 15


@pytest.mark.parametrize("name", targets())
def test_a_fuzz_target_survives_inputs_that_it_never_had(
    name: str, capfd: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    survived = run(name, SECONDS, seed)
    said = capfd.readouterr()
    inputs = re.search(r"(\d+) inputs|executed_units: *(\d+)", said.out + said.err)
    record_property("seed", seed)
    record_property("inputs", inputs and (inputs[1] or inputs[2]))

    assert survived, said.err[-2000:]
