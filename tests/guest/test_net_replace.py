"""A card's tap comes and goes while Linux runs."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio import tap as taps
from tests.guest.linux import SMALL, TIMEOUT_S, Report, flags, words
from tests.guest.netcard import (
    UP,
    add_tap,
    card,
    delete,
)
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]


def wait_carrier(state: str) -> str:
    return f'until [ "$(cat /sys/class/net/eth0/carrier)" = {state} ]; do sleep 0.1; done'


ROUNDS = 5
USE_TAPS = f"""
{UP}
for round in $(seq {ROUNDS}); do
  echo "WAITS $round"
  {wait_carrier("1")}
  ping -c 1 -W 10 10.17.0.1 || exit 1
  echo "USED $round"
  {wait_carrier("0")}
done
"""


@pytest.mark.guidebook("3.4.2 net", "2.3 netid", "3.3.5 getfd")
def test_a_tap_comes_and_goes_five_times_by_name_and_by_descriptor(tap: str, tmp_path: Path) -> None:
    command = flags(SMALL, words(USE_TAPS), tmp_path / "qmp")
    with (
        Vmm(*command, timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        for number in range(1, ROUNDS + 1):
            vmm.read_until(f"WAITS {number}\r\n".encode())
            if number % 2:
                qmp.call("netdev_add", id="net-0", ifname=tap)
            else:
                (opened,) = taps.open_named("test", tap, 1)
                qmp.pass_fd(opened, "tap-fd")
                os.close(opened)
                qmp.call("netdev_add", id="net-0", fds="tap-fd")
            qmp.call("device_add", id="net-0", driver="virtio-net-mmio", addr="0x0")
            vmm.read_until(f"USED {number}\r\n".encode())
            qmp.call("device_del", id="net-0")
            assert qmp.messages[-2]["data"] == {"device": "net-0", "path": "net-0"}
            taps.close(taps.open_named("test", tap, 1))  # it is free again
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:] + report.errors


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_tap_is_replaced_while_the_guest_runs(more: str, tap: str, tmp_path: Path) -> None:
    script = f"""
{UP}
ip addr add 10.18.0.2/24 dev eth0
ping -c 1 -W 5 10.17.0.1 || exit 1
echo FIRST
{wait_carrier("0")}
echo DOWN
{wait_carrier("1")}
ping -c 1 -W 5 10.18.0.1 || exit 2
"""
    add_tap("svtap1", "10.18.0.1")
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap, name="netid", more=more))
    try:
        with (
            Vmm(*command, timeout=TIMEOUT_S) as vmm,
            closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
        ):
            vmm.read_until(b"FIRST")
            qmp.call("device_del", id="netid")
            taps.close(taps.open_named("test", tap, 1))  # it is free
            vmm.read_until(b"DOWN")
            qmp.call("netdev_add", id="other", ifname="svtap1", vhost=bool(more))
            qmp.call("device_add", id="other", driver="virtio-net-mmio", addr="0x0")
            report = Report(*vmm.finish())
    finally:
        delete("svtap1")

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:] + report.errors


def test_a_tap_that_another_card_has_is_refused(tap: str, tmp_path: Path) -> None:
    command = flags(SMALL, words(end="hang"), tmp_path / "qmp", *card(tap, more=",vhost=on"))
    with (
        Vmm(*command, timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        qmp.call("netdev_add", id="other", ifname=tap)
        with pytest.raises(RuntimeError, match="Device or resource"):
            qmp.call("device_add", id="other", driver="virtio-net-mmio", addr="0x1")
        qmp.call("quit")
        report = Report(*vmm.finish())

    assert report.status == 0, report.errors


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_tap_that_is_deleted_takes_the_link_down_until_there_is_another(
    more: str, tap: str, tmp_path: Path
) -> None:
    # It sends all the time, so that there is a frame which the tap does not take any more.
    busy = "for i in 1 2 3 4; do (while :; do ping -c 1 -W 1 10.17.0.1 > /dev/null; done) & done"
    script = f"""
{UP}
{busy}
ping -c 1 -W 5 10.17.0.1 || exit 1
echo UP
{wait_carrier("0")}
echo DOWN
{wait_carrier("1")}
ping -c 3 -W 10 10.17.0.1 || exit 2
"""
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap, more=more))
    with (
        Vmm(*command, timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        vmm.read_until(b"UP")
        delete(tap)
        vmm.read_until(b"DOWN")
        add_tap(tap, "10.17.0.1")
        qmp.call("device_del", id="eth0")
        qmp.call("netdev_add", id="again", ifname=tap)
        qmp.call("device_add", id="again", driver="virtio-net-mmio", addr="0x0")
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:] + report.errors
    assert "net 'eth0': the tap is gone and the link is down" in report.errors
    assert "reset" not in report.errors, report.errors  # no ring was found broken
