"""Where Linux guests run, and how much memory the rig takes."""

from __future__ import annotations

import pytest

from tests.rig.host import hardware_virtualization, rig_memory_mib
from tests.rig.say import RigError


@pytest.mark.parametrize("flag", ["vmx", "svm"])
def test_a_cpu_with_virtualization_and_a_usable_kvm_runs_guests_directly(flag: str) -> None:
    assert hardware_virtualization(f"processor\t: 0\nflags\t\t: fpu {flag} sse\n", kvm_usable=True)


def test_a_kvm_without_hardware_virtualization_is_not_enough() -> None:
    assert not hardware_virtualization("flags\t\t: fpu vmxnet sse\n", kvm_usable=True)


def test_virtualization_without_a_usable_kvm_is_not_enough() -> None:
    assert not hardware_virtualization("flags\t\t: fpu vmx\n", kvm_usable=False)


@pytest.mark.parametrize(("available_mib", "given"), [(64_000, 6144), (8000, 4000), (3200, 2048)])
def test_the_rig_takes_half_of_what_is_free_within_limits(available_mib: int, given: int) -> None:
    assert rig_memory_mib(f"MemTotal: 1 kB\nMemAvailable:   {available_mib * 1024} kB\n") == given


def test_a_host_with_too_little_memory_is_told_so() -> None:
    with pytest.raises(RigError, match="needs 3072 MiB of free memory; 1000 MiB are available"):
        rig_memory_mib(f"MemAvailable: {1000 * 1024} kB\n")
