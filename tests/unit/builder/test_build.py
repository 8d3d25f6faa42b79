"""Building a machine, as far as no KVM is needed for it."""

from __future__ import annotations

import posix
from pathlib import Path
from types import SimpleNamespace

import pytest

from stratovirt.builder.build import build
from stratovirt.document.loader import load_vm
from stratovirt.errors import StratovirtError
from stratovirt.machine import board as boards
from stratovirt.machine.board import NotBuiltError

PROFILES = Path(__file__).parents[3] / "profiles"


@pytest.mark.skipif(posix.uname().machine != "x86_64", reason="the profile is for x86_64")
def test_a_machine_for_a_later_version_is_refused_with_the_devices_that_wait_for_it() -> None:
    with pytest.raises(NotBuiltError) as caught:
        build(load_vm(str(PROFILES / "standard-uefi.yaml")))

    assert "machine type 'standard_vm'" in caught.value.message
    assert "pflash 'code', pflash 'data', root port 'pcie.1'" in caught.value.message
    assert "check" in caught.value.hint


@pytest.mark.parametrize("host", ["x86_64", "aarch64"])
def test_an_architecture_without_machines_is_told_as_such_on_any_host(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posix, "uname", lambda: SimpleNamespace(machine=host))

    with pytest.raises(NotBuiltError) as caught:
        boards.load("aarch64", "microvm")

    assert "no machine of aarch64" in caught.value.message
    assert "none is built yet" in caught.value.message
    assert "check" in caught.value.hint


def test_a_host_without_machines_is_not_offered_as_the_place_to_run_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posix, "uname", lambda: SimpleNamespace(machine="aarch64"))

    with pytest.raises(StratovirtError) as caught:
        boards.load("x86_64", "microvm")

    assert caught.value.message == "the machine is x86_64 and this host is aarch64"
    assert caught.value.hint == "run it on an x86_64 host"
