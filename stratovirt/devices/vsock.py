"""virtio-vsock: sockets between guest and host (VIRTIO 1.2, 5.10)."""

from __future__ import annotations

import posix

from stratovirt.devices.device import VirtioDevice
from stratovirt.errors import CoreError, HostError, StratovirtError, warn
from stratovirt.paths import encoded
from stratovirt.record import choice, integer, path, text
from stratovirt.units import DESCRIPTOR_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.core._core import CData
    from stratovirt.machine.chassis import Chassis

VHOST = "/dev/vhost-vsock"
_EADDRINUSE = 98
_NEXT_STEP = 'load it with `modprobe vhost_vsock`, or set backend = "unix" and a socket in [vsock]'


class Vsock(VirtioDevice):
    """The one vsock device of a machine."""

    named = False
    drivers = {"vhost-vsock-device": "mmio", "vhost-vsock-pci": "pci"}  # noqa: RUF012
    label = "vsock"

    id: str = text("Name of the device", pattern="name", default="vsock", on="device")
    guest_cid: int = integer(
        "Context id of the guest, unique on the host", minimum=3, maximum=0xFFFF_FFFE, on="device"
    )
    vhostfd: int | None = integer(
        "Open /dev/vhost-vsock descriptor to use",
        default=None,
        minimum=0,
        maximum=DESCRIPTOR_MAX,
        on="device",
    )
    backend: str = choice(
        "Who serves the streams: the host's kernel (vhost) or Unix sockets; auto takes the first there is",
        ("auto", "vhost", "unix"),
        default="auto",
        on="none",
    )
    socket: str | None = path(
        "Unix socket where host programs say `CONNECT PORT`; the guest's own connections go to SOCKET_PORT",
        default=None,
        on="none",
    )
    iothread: str | None = text(
        "I/O thread that serves the streams; without effect with vhost",
        pattern="name",
        default=None,
        on="none",
    )

    @classmethod
    def uses(cls) -> dict[str, Callable[[], None]]:
        """Return how to try vhost."""
        return {"vhost-vsock": lambda: posix.close(_open_vhost("vhost-vsock"))}

    def realize(self, name: str, chassis: Chassis) -> None:
        """Open what serves the streams and put a virtio-vsock device before it."""
        label = f"vsock '{name}'"
        device = self._unix(label, chassis) if self._uses_unix(label) else self._vhost(label, chassis)
        chassis.place_mmio(label, device)

    def _uses_unix(self, label: str) -> bool:
        if self.backend != "auto" or self.vhostfd is not None or self.socket is None:
            return self.backend == "unix"
        reason = _why_not_vhost()
        if reason:
            # Told, because host programs have to connect in another way.
            warn(f"{label}: {VHOST}: {reason}; host programs reach the guest by {self.socket}")
        return bool(reason)

    def _vhost(self, label: str, chassis: Chassis) -> CData:
        from stratovirt.core import check, ffi, lib

        fd, hint = (
            (_open_vhost(label), "")
            if self.vhostfd is None
            else (self.vhostfd, f"is descriptor {self.vhostfd} an open {VHOST} that nobody else uses?")
        )
        out = ffi.new("struct sv_virtio **")
        try:
            result = lib.sv_vsock_vhost_create(chassis.core.handle, fd, self.guest_cid, out)
            check(f"make {label} with {VHOST}", result, hint)
        except CoreError as error:
            if error.errno != _EADDRINUSE:
                raise
            raise StratovirtError(
                f"{label}: context id {self.guest_cid} belongs to another machine on this host",
                hint="choose another guest_cid (guest-cid=), or end that machine",
            ) from error
        finally:
            if self.vhostfd is None:
                posix.close(fd)
        device: CData = out[0]
        return device

    def _unix(self, label: str, chassis: Chassis) -> CData:
        from stratovirt.core import check, ffi, lib
        from stratovirt.core.sockets import UnixListener

        if self.socket is None:
            raise StratovirtError(f'{label}: backend = "unix" needs a socket', hint="set `socket` in [vsock]")
        listener = UnixListener.bind(self.socket, f"the socket of {label}")
        chassis.at_close(listener.close)
        config = ffi.new(
            "struct sv_vsock_config *",
            {
                "guest_cid": self.guest_cid,
                "listener": listener.fd,
                "path": encoded(self.socket),
                "iothread": chassis.iothread(self.iothread),
            },
        )
        out = ffi.new("struct sv_virtio **")
        check(f"make {label}", lib.sv_vsock_create(chassis.core.handle, config, out))
        device: CData = out[0]
        return device


def _why_not_vhost() -> str:
    try:
        posix.close(posix.open(VHOST, posix.O_RDWR | posix.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _open_vhost(label: str) -> int:
    try:
        return posix.open(VHOST, posix.O_RDWR | posix.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{label}: open {VHOST}", error, _NEXT_STEP) from error


DEVICE = Vsock
