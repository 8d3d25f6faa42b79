"""Cards with several pairs of queues, with Linux's own driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio import tap as taps
from tests.guest.linux import SMALL, TIMEOUT_S, Report, flags, words
from tests.guest.netcard import (
    MAC,
    TAP,
    TRAFFIC,
    UP,
    card,
    expect_traffic,
    ip,
)
from tests.guest.programs import initrd_with
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_two_vcpus_use_two_pairs_of_queues(more: str, wide_tap: str, tmp_path: Path) -> None:
    command = flags(
        SMALL, words(TRAFFIC), tmp_path / "qmp", "-smp", "2", *card(wide_tap, more=f",queues=2{more}")
    )
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = expect_traffic(vmm)

    assert report.fact("queues") == "rx-0 rx-1 tx-0 tx-1"


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_pair_of_queues_that_was_given_up_is_used_again_where_it_was_left(
    more: str, wide_tap: str, tmp_path: Path
) -> None:
    script = f"""
set -e
{UP}
both() {{ for cpus in 1 2; do taskset $cpus ping -c 20 -i 0.05 -W 5 10.17.0.1; done; }}
both
for pairs in 1 2 1 2; do set_pairs eth0 $pairs; both; done
"""
    kernel, initrd = SMALL[0], initrd_with(SMALL[1], tmp_path / "initrd", "set_pairs")
    queues = card(wide_tap, more=f",queues=2{more}")
    command = flags((kernel, initrd), words(script), tmp_path / "qmp", "-smp", "2", *queues)
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = Report(*vmm.finish())

    assert (report.status, report.script_status, report.errors) == (0, 0, ""), report.text[-3000:]
    assert report.text.count("20 packets received") == 2 * 5, report.text[-3000:]
    assert "is not a head" not in report.text


@pytest.mark.parametrize("queues", [1, 2])
def test_a_tap_comes_by_inherited_descriptors(queues: int, tmp_path: Path) -> None:
    opened = taps.open_named("test", TAP, queues)
    ip("addr", "add", "10.17.0.1/24", "dev", TAP)
    ip("link", "set", TAP, "up")
    netdev = f"id=any,mac={MAC},fds={':'.join(map(str, opened))}"
    command = flags(
        SMALL, words(TRAFFIC), tmp_path / "qmp", "-smp", "2",
        "-netdev", netdev, "-device", "virtio-net-device,netdev=any,id=eth0",
    )  # fmt: skip
    try:
        with Vmm(*command, timeout=TIMEOUT_S, fds=opened) as vmm:
            report = expect_traffic(vmm)
    finally:
        taps.close(opened)

    assert len(report.fact("queues").split()) == 2 * queues
