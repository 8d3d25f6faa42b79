"""Cards that are replaced while a machine runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stratovirt.virtio import tap as taps

if TYPE_CHECKING:
    from tests.guest.vmm import Qmp

CARD = "card"  # what the one that is put in is called


def replace_card(qmp: Qmp, old: str, tap: str, *, by_name: bool) -> None:
    """Take a card out and put one on a tap in, which the machine opens or is passed."""
    qmp.call("device_del", id=old)
    if by_name:
        qmp.call("netdev_add", id=CARD, ifname=tap)
    else:
        (opened,) = taps.open_named("test", tap, 1)
        qmp.pass_fd(opened, "unused")
        qmp.pass_fd(opened, "tap")
        os.close(opened)
        qmp.call("closefd", fdname="unused")
        qmp.call("netdev_add", id=CARD, fds="tap")
    qmp.call("device_add", id=CARD, driver="virtio-net-mmio", addr="0x0")
