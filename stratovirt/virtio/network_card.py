"""NetworkCard: a virtio-net device of the core and what is behind it, also while the guest runs."""

from __future__ import annotations

import errno
import posix

from stratovirt.core import check, ffi, lib
from stratovirt.errors import HostError, StratovirtError, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stratovirt.core._core import CData

VHOST_DEVICE = "/dev/vhost-net"
ALL_OFFLOADS = 0x1F  # checksums, TSO for IPv4 and IPv6, ECN, UFO: what a card without a tap offers

_VHOST_HINTS = {
    errno.ENOENT: "load the module (modprobe vhost_net), or set vhost = false (vhost=off)",
    errno.EACCES: "let the user read and write the device, or set vhost = false (vhost=off)",
    errno.EPERM: "give this container access to the device, or set vhost = false (vhost=off)",
}


class NetworkCard:
    """A card with `pairs` pairs of queues. plug() and unplug() may be called at any time."""

    def __init__(self, label: str, pairs: int, mac: str | None = None) -> None:
        self.label = label
        self.pairs = pairs
        self.mac = mac
        self.device: CData = ffi.NULL
        self.vhost = False
        self._info: dict[str, object] | None = None

    def create(self, core: CData, iothread: CData, opened: list[int], vhost_fds: Sequence[int] = ()) -> None:
        """Make the device on open taps, or on none; with vhost descriptors the host's kernel serves it."""
        config = ffi.new(
            "struct sv_net_config *",
            {
                "has_mac": self.mac is not None,
                "mac": list(bytes.fromhex((self.mac or "").replace(":", ""))),
                "pairs": self.pairs,
                "offloads": _offloads(opened),
                "backend": _backend(opened, vhost_fds),
                "iothread": iothread,
            },
        )
        out = ffi.new("struct sv_virtio **")
        how = " with vhost" if vhost_fds else ""
        hint = "set vhost = false (vhost=off), or use a newer kernel" if vhost_fds else ""
        check(f"{self.label}: make the device{how}", lib.sv_net_create(core, config, out), hint)
        self.device = out[0]
        self.vhost = bool(vhost_fds)

    def remember(self, tap: str | None, fds: Sequence[int]) -> None:
        """Keep what the card was given, for info()."""
        if fds or tap is not None:
            self._info = {"tap": None if fds else tap, "fds": tuple(fds), "vhost": self.vhost}

    def plug(self, *, tap: str | None = None, fds: Sequence[int] = ()) -> None:
        """Give the card another tap, by name or by open descriptors (which the caller keeps); the link is up.

        A backend that was there is replaced. A card that was made with vhost is served by it again, and
        needs a descriptor for each pair. What cannot be opened leaves the card as it is; what the card or
        vhost then refuses may leave it without a tap.
        """
        if self.vhost and fds and len(fds) < self.pairs:
            raise StratovirtError(
                f"{self.label}: {len(fds)} descriptors, and vhost serves {self.pairs} pairs of queues",
                hint="give one for each pair",
            )
        if len(fds) > self.pairs:
            raise StratovirtError(
                f"{self.label}: {len(fds)} descriptors, and the card has {self.pairs} pairs of queues",
                hint="give at most one for each pair",
            )
        opened = self.open(tap, fds)
        if not opened:
            raise StratovirtError(f"{self.label}: neither a tap nor descriptors", hint="name a tap")
        try:
            result = lib.sv_net_plug(self.device, ffi.new("struct sv_net_backend *", _backend(opened, ())))
        finally:
            close(opened)
        if result < 0 and self.vhost:
            self.unplug()  # whatever the core came to: what is there is what info() says
        check(
            f"{self.label}: change the tap",
            result,
            "does the new tap have the offloads of the old one?" if result == -errno.EINVAL else "",
        )
        self.remember(tap, fds)

    def unplug(self) -> None:
        """Take the tap away: the link goes down, and the tap is free on return."""
        check(f"{self.label}: take the tap away", lib.sv_net_unplug(self.device))
        self._info = None

    def info(self) -> dict[str, object] | None:
        """Return tap or descriptors, and whether vhost serves it; None when there is nothing behind it."""
        return self._info

    def open(self, tap: str | None, fds: Sequence[int]) -> list[int]:
        """Return taps that the caller closes; descriptors come before a name. Empty without either."""
        if not fds and tap is None:
            return []
        from stratovirt.virtio import tap as taps

        if fds:
            return taps.adopt(self.label, fds)
        return taps.open_named(self.label, str(tap), self.pairs)


def _offloads(opened: list[int]) -> int:
    """Return the TUN_F_* (<linux/if_tun.h>) that all taps can be told to do."""
    if not opened:
        return ALL_OFFLOADS
    from stratovirt.virtio import tap as taps

    return taps.offloads(opened)


def close(fds: list[int]) -> None:
    """Close descriptors."""
    while fds:
        posix.close(fds.pop())


def open_vhost(label: str, count: int) -> list[int]:
    """Open vhost-net once for each pair of queues. The caller closes them."""
    fds: list[int] = []
    try:
        for _ in range(count):
            fds.append(posix.open(VHOST_DEVICE, posix.O_RDWR | posix.O_CLOEXEC))  # noqa: PERF401 - closed below
    except OSError as error:
        close(fds)
        hint = _VHOST_HINTS.get(error.errno or 0, "set vhost = false (vhost=off)")
        raise HostError(f"{label}: open {VHOST_DEVICE}", error, hint) from error
    return fds


def say_fallback(error: HostError) -> None:
    """Tell in one line that vhost = "auto" does without."""
    warn(f'{error.message}; vhost = "auto" goes on without it')


def _backend(fds: Sequence[int], vhost_fds: Sequence[int]) -> dict[str, object]:
    return {"count": len(fds), "fds": list(fds), "vhost": bool(vhost_fds), "vhost_fds": list(vhost_fds)}
