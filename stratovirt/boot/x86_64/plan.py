"""The boot plan: every byte that goes into guest memory before vCPU 0 starts, and where it starts."""

from __future__ import annotations

from stratovirt.boot.x86_64 import acpi, cmdline, layout, modes, mptable, pvh, zero_page
from stratovirt.errors import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.boot.kernel import KernelPlan

PAGE = 4096


class BootInput:
    """What the plan depends on; sizes in bytes, `slots` the base and GSI of each virtio-mmio window."""

    __slots__ = ("cmdline", "cpus", "initrd_path", "initrd_size", "kernel", "ram_size", "serial", "slots")

    def __init__(  # noqa: PLR0913 - a value with eight parts
        self,
        *,
        ram_size: int,
        cpus: int,
        cmdline: str,
        kernel: KernelPlan,
        initrd_size: int = 0,
        initrd_path: str = "",
        slots: tuple[tuple[int, int], ...] = (),
        serial: bool = False,
    ) -> None:
        self.ram_size = ram_size
        self.cpus = cpus
        self.cmdline = cmdline
        self.kernel = kernel
        self.initrd_size = initrd_size
        self.initrd_path = initrd_path
        self.slots = slots
        self.serial = serial


class BootPlan:
    """Bytes for guest memory, and the registers that point at them."""

    gdt_address = layout.GDT_ADDRESS
    gdt_limit = layout.GDT_LIMIT
    idt_address = layout.IDT_ADDRESS
    idt_limit = layout.IDT_LIMIT
    page_table_address = layout.PML4_ADDRESS
    stack_address = layout.STACK_ADDRESS

    def __init__(self, kernel: KernelPlan, initrd_address: int) -> None:
        self.protocol = kernel.protocol
        self.entry = kernel.entry
        self.initrd_address = initrd_address
        self.info_address = (
            layout.START_INFO_ADDRESS if kernel.protocol == "pvh" else layout.ZERO_PAGE_ADDRESS
        )
        self.writes: list[tuple[int, bytes]] = []


def plan(wanted: BootInput) -> BootPlan:
    """Return the plan, or say what does not fit."""
    low_end = layout.memory_regions(wanted.ram_size)[0][1]
    kernel = wanted.kernel
    if any(segment.end > low_end for segment in kernel.segments):
        raise DocumentError(
            f"the kernel ends at {max(segment.end for segment in kernel.segments):#x}, "
            f"guest memory below 4 GiB at {low_end:#x}",
            ("memory", "size"),
            "give the machine more memory",
        )
    initrd = (_place_initrd(wanted, low_end), wanted.initrd_size)
    boot = BootPlan(kernel, initrd[0])
    line = cmdline.build(wanted.cmdline, wanted.slots, kernel.cmdline_max)
    rsdp, tables = acpi.build(wanted.cpus, wanted.slots, serial=wanted.serial)
    boot.writes += modes.descriptors()
    if kernel.protocol == "pvh":  # entered without paging
        boot.writes.append((layout.START_INFO_ADDRESS, pvh.build(wanted.ram_size, initrd, rsdp)))
    else:
        boot.writes += modes.identity_map()
        page = zero_page.build(kernel.setup_header, wanted.ram_size, len(line) - 1, initrd, rsdp)
        boot.writes.append((layout.ZERO_PAGE_ADDRESS, page))
    boot.writes.append((layout.CMDLINE_ADDRESS, line))
    boot.writes.append((layout.MP_ADDRESS, mptable.build(wanted.cpus)))
    boot.writes.append((layout.ACPI_ADDRESS, tables))
    return boot


def _place_initrd(wanted: BootInput, low_end: int) -> int:
    if not wanted.initrd_size:
        return 0
    top = min(wanted.kernel.initrd_max + 1, low_end)
    address = (top - wanted.initrd_size) // PAGE * PAGE
    if address < wanted.kernel.end:
        raise DocumentError(
            f"initrd {wanted.initrd_path} has {wanted.initrd_size} bytes, "
            f"and between the kernel and {top:#x} there are {max(top - wanted.kernel.end, 0)}",
            ("boot", "initrd"),
            "give the machine more memory, or make the initrd smaller",
        )
    return address
