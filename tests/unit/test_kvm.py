"""Hosts without KVM, or with something else in its place: each is told with what to do."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.core import kvm
from stratovirt.errors import HostError, StratovirtError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


def refusal(path: object) -> StratovirtError:
    with pytest.raises(StratovirtError) as caught:
        kvm.open_device(str(path))
    return caught.value


@pytest.fixture
def forbidden() -> Iterator[Path]:
    """Return a file in a folder for all that the user, who is not root any more, may not open."""
    before = os.geteuid()
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        os.chmod(file.name, 0)
        if before == 0:
            os.seteuid(NOBODY)
        yield Path(file.name)
        os.seteuid(before)


def test_a_host_without_the_device_is_told_to_load_the_module(tmp_path: Path) -> None:
    error = refusal(tmp_path / "kvm")

    assert isinstance(error, HostError)
    assert error.message == f"open {tmp_path}/kvm: No such file or directory"
    assert "modprobe kvm_intel or kvm_amd" in error.hint
    assert "firmware" in error.hint


def test_a_user_who_may_not_open_it_is_told_of_the_group(forbidden: Path) -> None:
    error = refusal(forbidden)

    assert error.message == f"open {forbidden}: Permission denied"
    assert "add the user to the group that owns the device" in error.hint


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_another_device_in_its_place_is_told_and_closed(path: str) -> None:
    before = os.listdir("/proc/self/fd")
    error = refusal(path)

    assert error.message == f"{path} is not KVM"
    assert "mounted in its place" in error.hint
    assert os.listdir("/proc/self/fd") == before


def test_a_regular_file_in_its_place_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "kvm").touch()

    assert refusal(tmp_path / "kvm").message == f"{tmp_path}/kvm is not KVM"


def test_every_reason_that_has_a_hint_names_a_step() -> None:
    assert all(len(hint) > 20 for hint in kvm._OPEN_HINTS.values())
