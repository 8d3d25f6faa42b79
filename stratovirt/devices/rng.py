"""virtio-rng: the entropy device (VIRTIO 1.2, 5.4)."""

from __future__ import annotations

import posix

from stratovirt.devices.device import Device
from stratovirt.errors import HostError, StratovirtError
from stratovirt.record import integer, path, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.machine.chassis import Chassis

_KIND_MASK, _CHARACTER = 0o170000, 0o020000  # stat's S_IFMT and S_IFCHR: `stat` costs a module
_HINT = "name a character device that gives random bytes, like /dev/urandom"


class Rng(Device):
    """The one entropy device of a machine."""

    named = False
    option = "rng"
    objects = {"rng-random": {"filename": "file"}}  # noqa: RUF012
    reference = "rng"
    later_drivers = {"virtio-rng-device": "mmio"}  # noqa: RUF012
    rates = {  # noqa: RUF012
        "bytes_per_sec": (("max-bytes", "Bytes in each period at most"), ("period", "Milliseconds of one"))
    }
    label = "rng"

    id: str = text("Name of the device", pattern="name", default="rng", also_on="device")
    file: str = path("Character device on the host that the bytes come from", key="random_file")
    bytes_per_sec: int | None = integer(
        "Bytes each second at most", default=None, minimum=64, maximum=999_999_999, key="bytes_per_sec"
    )
    iothread: str | None = text("I/O thread that serves the device", pattern="name", default=None, on="none")

    def transport(self) -> str:
        """Return "mmio": no flag has another."""
        return "mmio"

    def realize(self, name: str, chassis: Chassis) -> None:
        """Open the source and put a virtio-rng device before it."""
        from stratovirt.core import check, ffi, lib

        _ = name
        label = f"rng '{self.id}'"
        fd = open_source(label, self.file)
        try:
            config = ffi.new(
                "struct sv_rng_config *",
                {
                    "fd": fd,
                    "bytes_per_sec": self.bytes_per_sec or 0,
                    "iothread": chassis.iothread(self.iothread),
                },
            )
            out = ffi.new("struct sv_virtio **")
            check(f"make {label}", lib.sv_rng_create(chassis.core.handle, config, out))
        finally:
            posix.close(fd)
        chassis.place_mmio(label, out[0])


def open_source(label: str, path: str) -> int:
    """Open a character device so that no read of it waits; refuse anything else."""
    try:
        # Looked at first: to open some devices does something, and to open a pipe could wait.
        kind = posix.stat(path).st_mode & _KIND_MASK
        if kind != _CHARACTER:
            raise StratovirtError(f"{label}: {path} is {_word_for(kind)}, no character device", hint=_HINT)
        return posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError as error:
        hint = "let the user read it" if error.errno == 13 else _HINT  # EACCES
        raise HostError(f"{label}: open {path}", error, hint=hint) from error


def _word_for(kind: int) -> str:
    words = {0o100000: "a regular file", 0o040000: "a folder", 0o060000: "a block device", 0o010000: "a pipe"}
    return words.get(kind, "something else")


DEVICE = Rng
