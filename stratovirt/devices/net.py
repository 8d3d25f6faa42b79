"""virtio-net: a network card on a tap device (VIRTIO 1.2, 5.1)."""

from __future__ import annotations

import posix

from stratovirt.devices.device import BackedDevice
from stratovirt.errors import HostError
from stratovirt.record import integer, integers, switch, text
from stratovirt.units import DESCRIPTOR_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.devices.device import Device
    from stratovirt.machine.chassis import Chassis
    from stratovirt.virtio.network_card import NetworkCard

MAX_QUEUES = 16


class Net(BackedDevice):
    """A network card; the name of the table is the id that device_del takes."""

    option = "netdev"
    reference = "netdev"
    device_id = "name"
    word = "ignored"
    drivers = {"virtio-net-device": "mmio", "virtio-net-pci": "pci"}  # noqa: RUF012
    aliases = {"ifname": "netdev", "fd": "fds", "vhostfd": "vhostfds"}  # noqa: RUF012
    idle_words = {  # noqa: RUF012
        "": {"script": ("no",), "downscript": ("no",)},
        "device": {"mq": ("on", "off", "true", "false", "yes", "no"), "vectors": ()},
    }
    label = "net"
    spares = 2

    tap: str | None = text(
        "Tap device on the host", max_length=15, pattern="name", default=None, key="netdev"
    )
    fds: tuple[int, ...] = integers(
        "Open tap file descriptors that the process inherits", default=(), minimum=0, maximum=DESCRIPTOR_MAX
    )
    queues: int = integer(
        "Pairs of queues, one for each vCPU that sends; with fds as many as there are",
        default=1,
        minimum=1,
        maximum=MAX_QUEUES,
    )
    mac: str | None = text(
        "Ethernet address that the guest sees", pattern="mac", default=None, also_on="device"
    )
    vhost: str | bool = switch(
        "Serve the queues in the host kernel; auto falls back", ("auto",), default=False
    )
    vhostfds: tuple[int, ...] = integers(
        "Open /dev/vhost-net descriptors to use", default=(), minimum=0, maximum=DESCRIPTOR_MAX
    )
    iothread: str | None = text(
        "I/O thread that serves the card; without effect with vhost",
        pattern="name",
        default=None,
        on="device",
    )

    @classmethod
    def complete(cls, name: str, data: dict[str, object]) -> str:
        """Let the id be the tap, as in `-netdev id=tap0`, when neither tap nor descriptors are named.

        One descriptor is one pair of queues: runners give it the `queues` of a tap too.
        """
        fds = data.get("fds")
        if isinstance(fds, list) and len(fds) == 1 and data.get("queues") in range(1, MAX_QUEUES + 1):
            del data["queues"]
        elif fds is None and "tap" not in data:
            data["tap"] = name
        return name

    def spoken(self, name: str) -> tuple[str, Device]:
        """Say the tap as the id, the only form that every StratoVirt reads."""
        if self.attach and self.tap and not self.fds:
            return self.tap, self.replace(tap=None)
        return name, self.replace(tap=None) if self.tap == name and not self.fds else self

    def pairs(self) -> int:
        """Return how many pairs of queues the card has."""
        return len(self.fds) or self.queues

    @classmethod
    def uses(cls) -> dict[str, Callable[[], None]]:
        """Return how to try what makes taps, and vhost."""
        from stratovirt.virtio import network_card, tap

        return {
            "taps": lambda: posix.close(tap.open_clone("taps")),
            "vhost-net": lambda: network_card.close(network_card.open_vhost("vhost-net", 1)),
        }

    @classmethod
    def spare(cls, name: str, chassis: Chassis) -> None:
        """Make a card without a tap, which the guest sees as one without a link."""
        from stratovirt.virtio.network_card import NetworkCard

        card = NetworkCard(f"net '{name}'", 1)
        card.create(chassis.core.handle, chassis.iothread(None), [])
        _place(card, name, chassis)

    def realize(self, name: str, chassis: Chassis) -> None:
        """Open the tap and put a virtio-net device before it."""
        from stratovirt.virtio.network_card import NetworkCard, close

        card = NetworkCard(f"net '{name}'", self.pairs(), self.mac)
        opened = card.open(self.tap, self.fds)
        try:
            self._create(card, chassis, opened)
        finally:
            close(opened)
        card.remember(self.tap, self.fds)
        for fd in (*self.fds, *self.vhostfds):
            posix.close(fd)  # the core has its own copy: an unplug has to free the tap
        _place(card, name, chassis)

    def _create(self, card: NetworkCard, chassis: Chassis, opened: list[int]) -> None:
        from stratovirt.virtio.network_card import say_fallback

        if self.vhost is not False:
            try:
                self._create_vhost(card, chassis, opened)
            except HostError as error:
                if self.vhost != "auto":
                    raise
                say_fallback(error)
            else:
                return
        card.create(chassis.core.handle, chassis.iothread(self.iothread), opened)

    def _create_vhost(self, card: NetworkCard, chassis: Chassis, opened: list[int]) -> None:
        from stratovirt.virtio.network_card import close, open_vhost

        vhost = [] if self.vhostfds else open_vhost(card.label, card.pairs)
        try:
            card.create(chassis.core.handle, chassis.iothread(None), opened, self.vhostfds or vhost)
        finally:
            close(vhost)


def _place(card: NetworkCard, name: str, chassis: Chassis) -> None:
    chassis.place_mmio(card.label, card.device)
    chassis.live["net", name] = card


DEVICE = Net
