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


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EPIPE, "is gone"),
        (errno.ETIMEDOUT, "did not answer within 5 seconds and was cut off, perhaps with requests in hand"),
        (errno.EPROTO, "does not keep to vhost-user and was cut off"),
        (errno.EREMOTEIO, "refused a message of vhost-user and was cut off"),
    ],
)
def test_a_process_that_serves_no_more_is_told_with_the_reason(number: int, why: str) -> None:
    told = event(lib.SV_EVENT_VHOST_FAILED, 3, number)

    assert told.text == f"vsock 'v': whoever serves its queues {why}: this machine does without"


def test_a_queue_that_the_guest_broke_is_not_the_hosts_doing() -> None:
    told = event(lib.SV_EVENT_DEVICE_BROKEN, 3, 1, 6, 2)

    assert told.kind == "device-broken"
    assert told.text == "vsock 'v': the guest broke queue 1 (reason 6); it needs a reset, 2 times before"


def test_vhost_does_not_say_which_of_its_queues_the_guest_broke() -> None:
    told = event(lib.SV_EVENT_DEVICE_BROKEN, 3, lib.SV_QUEUE_OF_VHOST, 6)

    assert told.kind == "device-broken"
    assert told.text == "vsock 'v': the guest broke a queue that vhost serves (reason 6); it needs a reset"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((lib.SV_DRIVER_STATUS, 0x03, 0x03), "the driver's status is ACKNOWLEDGE DRIVER"),
        (
            (lib.SV_DRIVER_STATUS, 0x03, 0x0B),
            "the driver's status is ACKNOWLEDGE DRIVER; FEATURES_OK was not taken",
        ),
        ((lib.SV_DRIVER_FEATURES, 1 << 32, 0x130000000), "features 0x100000000 of 0x130000000 are agreed"),
        ((lib.SV_DRIVER_QUEUE_READY, 2, 256), "queue 2 is ready, with 256 entries"),
        ((lib.SV_DRIVER_QUEUE_REFUSED, 2, 256), "queue 2 came too early, or too late"),
        ((lib.SV_DRIVER_QUEUE_STOPPED, 2), "queue 2 is stopped"),
        (
            (lib.SV_DRIVER_RESET, 0x8F, 0, 7),
            "the driver resets the device; its status was ACKNOWLEDGE DRIVER FEATURES_OK DRIVER_OK FAILED; "
            "7 steps before were left out",
        ),
    ],
)
def test_each_step_of_a_driver_is_told_in_words(data: tuple[int, ...], words: str) -> None:
    told = event(lib.SV_EVENT_DRIVER, 3, *data)

    assert (told.kind, told.text) == ("driver", f"vsock 'v': {words}")
