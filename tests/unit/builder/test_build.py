"""Building a machine, as far as no KVM is needed for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stratovirt.builder.build import build
from stratovirt.document.loader import load_vm
from stratovirt.machine.board import NotBuiltError

PROFILES = Path(__file__).parents[3] / "profiles"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the profile is for x86_64")
def test_a_machine_for_a_later_version_is_refused_with_the_devices_that_wait_for_it() -> None:
    with pytest.raises(NotBuiltError) as caught:
        build(load_vm(str(PROFILES / "standard-uefi.yaml")))

    assert "machine type 'standard_vm'" in caught.value.message
    assert "pflash 'code', pflash 'data', root port 'pcie.1'" in caught.value.message
    assert "check" in caught.value.hint
