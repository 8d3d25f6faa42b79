"""What the core's threads tell, in words: a vCPU that stopped, a host that does not serve a device."""

from __future__ import annotations

import errno

import pytest

from stratovirt.core import lib
from stratovirt.machine.events import KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, Event, decode

RIP = 0xFFFFFFFF81000000
NAMES = {3: "vsock 'v'"}


def event(kind: int, source: int, *data: int) -> Event:
    return decode(kind, source, (*data, *[0] * (7 - len(data))), NAMES, {})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            (KVM_EXIT_FAIL_ENTRY, 0x80000021, RIP),
            "the processor refused to enter the guest (hardware reason 0x80000021)",
        ),
        (
            (KVM_EXIT_INTERNAL_ERROR, 1, RIP, 0, 3, 0x0F0B90),
            "KVM met an instruction that KVM cannot emulate (bytes 90 0b 0f)",
        ),
        ((KVM_EXIT_INTERNAL_ERROR, 77, RIP), "KVM met internal error 77"),
        ((42, 0, RIP), "an exit that nobody expects (reason 42)"),
        ((0, 0, RIP, errno.EINVAL), "KVM_RUN failed: Invalid argument"),
    ],
    ids=["failed entry", "emulation", "internal error", "unknown exit", "ioctl"],
)
def test_a_vcpu_that_stopped_is_told_with_its_place_and_the_reason(data: tuple[int, ...], words: str) -> None:
    told = event(lib.SV_EVENT_VCPU_FAILED, 5, *data)

    assert told.kind == "vcpu-failed"
    assert told.text == f"vCPU 5 stopped at RIP 0xffffffff81000000: {words}"


def test_memory_that_the_host_has_no_page_for_is_no_failure_of_kvm() -> None:
    text = event(lib.SV_EVENT_VCPU_FAILED, 0, 0, 0, RIP, errno.EFAULT).text

    assert "the host has no page left for guest memory" in text
    assert "KVM_RUN" not in text


@pytest.mark.parametrize(
    ("before", "end"), [(0, "it needs a reset"), (7, "it needs a reset, 7 times before")]
)
def test_what_vhost_refused_is_told_by_its_reason(before: int, end: str) -> None:
    told = event(lib.SV_EVENT_VHOST_FAILED, 3, errno.EPERM, 0, before)

    assert told.kind == "host-error"
    assert told.text == f"vsock 'v': vhost refused its queues: Operation not permitted; {end}"


def test_a_queue_that_the_guest_broke_is_not_the_hosts_doing() -> None:
    told = event(lib.SV_EVENT_DEVICE_BROKEN, 3, 1, 6, 2)

    assert told.kind == "device-broken"
    assert told.text == "vsock 'v': the guest broke queue 1 (reason 6); it needs a reset, 2 times before"
