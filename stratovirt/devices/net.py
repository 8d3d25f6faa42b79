"""virtio-net: a network card on a tap device (VIRTIO 1.2, 5.1)."""

from __future__ import annotations

from stratovirt.devices.device import BackedDevice
from stratovirt.record import integers, switch, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.devices.device import Device


class Net(BackedDevice):
    """A network card; the name of the table is the id that device_del takes."""

    option = "netdev"
    reference = "netdev"
    device_id = "name"
    word = "ignored"
    drivers = {"virtio-net-device": "mmio", "virtio-net-pci": "pci"}  # noqa: RUF012
    aliases = {"ifname": "netdev", "vhostfd": "vhostfds"}  # noqa: RUF012
    label = "net"

    tap: str | None = text(
        "Tap device on the host", max_length=15, pattern="name", default=None, key="netdev"
    )
    fds: tuple[int, ...] = integers(
        "Open tap file descriptors that the process inherits", default=(), minimum=0
    )
    mac: str | None = text("Ethernet address that the guest sees", pattern="mac", default=None)
    vhost: str | bool = switch(
        "Serve the queues in the host kernel; auto falls back", ("auto",), default=False
    )
    vhostfds: tuple[int, ...] = integers("Open /dev/vhost-net descriptors to use", default=(), minimum=0)
    iothread: str | None = text(
        "I/O thread that serves the card; without effect with vhost",
        pattern="name",
        default=None,
        on="device",
    )

    @classmethod
    def complete(cls, name: str, data: dict[str, object]) -> str:
        """Let the id be the tap, as in `-netdev id=tap0`, when neither tap nor descriptors are named."""
        if "tap" not in data and "fds" not in data:
            data["tap"] = name
        return name

    def spoken(self, name: str) -> tuple[str, Device]:
        """Say the tap as the id, the only form that every StratoVirt reads."""
        if self.attach and self.tap and not self.fds:
            return self.tap, self.replace(tap=None)
        return name, self.replace(tap=None) if self.tap == name and not self.fds else self


DEVICE = Net
