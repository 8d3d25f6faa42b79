"""NetworkCard: a virtio-net device of the core and what is behind it, also while the guest runs."""

from __future__ import annotations

import errno
import os

from stratovirt.core import check, ffi, lib
from stratovirt.errors import HostError, StateError, StratovirtError
from stratovirt.virtio import tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from stratovirt.core._core import CData

VHOST_DEVICE = "/dev/vhost-net"
MAX_PAIRS = 16
STDERR = 2

_VHOST_HINTS = {
    errno.ENOENT: "load the module (modprobe vhost_net), or set vhost = false (vhost=off)",
    errno.EACCES: "let the user read and write the device, or set vhost = false (vhost=off)",
    errno.EPERM: "give this container access to the device, or set vhost = false (vhost=off)",
}


class NetworkCard:
    """A card with `pairs` pairs of queues. plug() and unplug() may be called at any time."""

    def __init__(self, label: str, pairs: int) -> None:
        self.label = label
        self.pairs = pairs
        self.device: CData = ffi.NULL
        self.vhost = False
        self.plugged = False

    def create(
        self, core: CData, iothread: CData, *, mac: str | None, fds: list[int], vhost_fds: Sequence[int]
    ) -> None:
        """Make the device on open taps, or on none; with vhost descriptors the host kernel serves it."""
        address = bytes.fromhex((mac or "").replace(":", ""))
        config = ffi.new(
            "struct sv_net_config *",
            {
                "has_mac": mac is not None,
                "mac": list(address),
                "pairs": self.pairs,
                "offloads": tap.offloads(fds),
                "backend": _backend(fds, vhost_fds),
                "iothread": iothread,
            },
        )
        out = ffi.new("struct sv_virtio **")
        how = " with vhost" if vhost_fds else ""
        hint = "set vhost = false (vhost=off), or use a newer kernel" if vhost_fds else ""
        check(f"{self.label}: make the device{how}", lib.sv_net_create(core, config, out), hint)
        self.device = out[0]
        self.vhost = bool(vhost_fds)
        self.plugged = bool(fds)

    def plug(self, *, tap_name: str | None = None, fds: Sequence[int] = ()) -> None:
        """Give the card another tap, by name or by open descriptors (which the caller keeps); the link is up.

        A backend that was there is replaced. On failure the card is as it was.
        """
        self._refuse_vhost()
        if len(fds) > self.pairs:
            raise StratovirtError(
                f"{self.label}: {len(fds)} descriptors, and the card has {self.pairs} pairs of queues",
                hint="give at most one for each pair",
            )
        taps = self.open(tap_name, fds)
        if not taps:
            raise StratovirtError(f"{self.label}: neither a tap nor descriptors", hint="name a tap")
        try:
            result = lib.sv_net_plug(self.device, ffi.new("struct sv_net_backend *", _backend(taps, ())))
        finally:
            tap.close(taps)
        check(
            f"{self.label}: change the tap",
            result,
            "does the new tap have the offloads of the old one?" if result == -errno.EINVAL else "",
        )
        self.plugged = True

    def unplug(self) -> None:
        """Take the tap away: the link goes down, and the tap is free on return."""
        self._refuse_vhost()
        check(f"{self.label}: take the tap away", lib.sv_net_unplug(self.device))
        self.plugged = False

    def open(self, tap_name: str | None, fds: Sequence[int]) -> list[int]:
        """Return taps that the caller closes; descriptors come before a name. Empty without either."""
        if fds:
            return tap.adopt(self.label, fds)
        return [] if tap_name is None else tap.open_named(self.label, tap_name, self.pairs)

    def _refuse_vhost(self) -> None:
        if self.vhost:
            raise StateError(
                f"{self.label} is served by vhost and keeps its tap",
                hint="start the machine with vhost = false (vhost=off) to change it later",
            )


def open_vhost(label: str, count: int) -> list[int]:
    """Open vhost-net once for each pair of queues. The caller closes them."""
    fds: list[int] = []
    try:
        for _ in range(count):
            fds.append(os.open(VHOST_DEVICE, os.O_RDWR | os.O_CLOEXEC))  # noqa: PERF401 - closed below
    except OSError as error:
        tap.close(fds)
        hint = _VHOST_HINTS.get(error.errno or 0, "set vhost = false (vhost=off)")
        raise HostError(f"{label}: open {VHOST_DEVICE}", error, hint) from error
    return fds


def say_fallback(error: HostError) -> None:
    """Tell in one line that vhost = "auto" does without."""
    text = f'stratovirt: {error.message}; vhost = "auto" goes on without it\n'
    os.write(STDERR, text.encode(errors="replace"))


def _backend(fds: Sequence[int], vhost_fds: Sequence[int]) -> dict[str, object]:
    return {"count": len(fds), "fds": list(fds), "vhost": bool(vhost_fds), "vhost_fds": list(vhost_fds)}
