"""virtio-console: /dev/hvc0 to /dev/hvc7 in the guest, Unix sockets on the host (VIRTIO 1.2, 5.3)."""

from __future__ import annotations

from stratovirt.devices.device import LISTENING, Device
from stratovirt.record import path, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core._core import CData
    from stratovirt.machine.chassis import Chassis


class Console(Device):
    """A console; its host side is a Unix socket that listens."""

    option = "chardev"
    idle_items = LISTENING | {"socket"}
    reference = "chardev"
    device_id = "ignored"
    later_drivers = {"virtconsole": "mmio"}  # noqa: RUF012
    idle_drivers = {"virtio-serial-device": ("id", "max-ports")}  # noqa: RUF012
    idle_words = {"device": {"nr": ()}}  # noqa: RUF012
    label = "console"

    path: str = path("Socket on the host", key="path")
    iothread: str | None = text("I/O thread that serves the console", pattern="name", default=None, on="none")

    def transport(self) -> str:
        """Return "mmio": no flag has another."""
        return "mmio"

    def realize(self, name: str, chassis: Chassis) -> None:
        """Listen on the socket and put a virtio-console device before it."""
        from stratovirt.core import check, ffi, lib
        from stratovirt.core.sockets import UnixListener

        label = f"console '{name}'"
        listener = UnixListener.bind(self.path, f"the socket of {label}")
        chassis.at_close(listener.close)
        out = ffi.new("struct sv_virtio **")
        thread = chassis.iothread(self.iothread)
        check(f"make {label}", lib.sv_console_create(chassis.core.handle, listener.fd, thread, out))
        chassis.place_mmio(label, out[0])
        chassis.live["console", name] = LiveConsole(label, out[0])


class LiveConsole:
    """A console of a running machine."""

    def __init__(self, label: str, device: CData) -> None:
        self._label = label
        self._device = device

    def resize(self, cols: int, rows: int) -> None:
        """Tell the guest how large the window is at the other end; 0 by 0 when that is not known."""
        from stratovirt.core import check, lib

        check(f"resize {self._label}", lib.sv_console_resize(self._device, cols, rows))


DEVICE = Console
