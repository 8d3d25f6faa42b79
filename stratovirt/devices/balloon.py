"""virtio-balloon: memory that the guest gives back (VIRTIO 1.2, 5.5)."""

from __future__ import annotations

from stratovirt.devices.device import VirtioDevice
from stratovirt.record import flag, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core._core import CData
    from stratovirt.machine.chassis import Chassis

# VIRTIO 1.2, 5.5.6.4, by tag; QEMU's names.
STATS = (
    "swap-in",
    "swap-out",
    "major-faults",
    "minor-faults",
    "free-memory",
    "total-memory",
    "available-memory",
    "disk-caches",
    "htlb-pgalloc",
    "htlb-pgfail",
)


class Balloon(VirtioDevice):
    """The one balloon of a machine."""

    named = False
    drivers = {"virtio-balloon-device": "mmio", "virtio-balloon-pci": "pci"}  # noqa: RUF012
    label = "balloon"

    id: str = text("Name of the device", pattern="name", default="balloon", on="device")
    deflate_on_oom: bool = flag("Deflate when the guest runs out of memory", default=False, on="device")
    free_page_reporting: bool | None = flag(
        "The guest tells which memory is free, and the host takes it; on, unless memory is of huge pages",
        default=None,
        on="device",
    )
    stats_interval: int = integer(
        "Seconds between questions for statistics; 0 asks only when somebody wants to know",
        default=0,
        minimum=0,
        maximum=86_400,
        on="none",
    )
    iothread: str | None = text("I/O thread that serves the balloon", pattern="name", default=None, on="none")

    def realize(self, name: str, chassis: Chassis) -> None:
        """Make the device; QMP finds it as the live balloon."""
        from stratovirt.core import check, ffi, lib

        label = f"balloon '{name}'"
        config = ffi.new(
            "struct sv_balloon_config *",
            {
                "deflate_on_oom": self.deflate_on_oom,
                "reporting": self.reports(huge_pages=chassis.core.huge_pages),
                "stats_interval": self.stats_interval,
                "iothread": chassis.iothread(self.iothread),
            },
        )
        out = ffi.new("struct sv_virtio **")
        check(f"make {label}", lib.sv_balloon_create(chassis.core.handle, config, out))
        chassis.place_mmio(label, out[0])
        chassis.live["balloon", name] = LiveBalloon(out[0])

    def reports(self, *, huge_pages: bool) -> bool:
        """Tell whether the guest reports its free pages, in memory of huge pages or not."""
        if self.free_page_reporting is None:
            # A guest uses what it reported without asking: a huge page may be somebody else's by then.
            return not huge_pages
        return self.free_page_reporting


class LiveBalloon:
    """The balloon of a running machine, for commands. Nothing here waits for the guest."""

    def __init__(self, device: CData) -> None:
        self._device = device

    def actual(self) -> int | None:
        """Return the bytes that the guest has; None when no driver serves the balloon."""
        state = self._read()
        return int(state.actual) if state.active else None

    def set_target(self, size: int) -> None:
        """Ask the guest to make do with so many bytes; more than there are means all."""
        from stratovirt.core import check, lib

        check("set the balloon", lib.sv_balloon_set_target(self._device, min(size, 2**64 - 1)))

    def stats(self) -> tuple[int, dict[str, int]]:
        """Return when the guest told of its memory, in seconds since 1970, and what."""
        state = self._read()
        known = {
            name: int(state.stats[tag]) for tag, name in enumerate(STATS) if state.stats_known >> tag & 1
        }
        return int(state.stats_time), known

    def ask_stats(self) -> None:
        """Ask the guest to tell again."""
        from stratovirt.core import check, lib

        check("ask for statistics", lib.sv_balloon_ask_stats(self._device))

    def _read(self) -> CData:
        from stratovirt.core import ffi, lib

        state = ffi.new("struct sv_balloon_state *")
        lib.sv_balloon_read(self._device, state)
        return state


DEVICE = Balloon
