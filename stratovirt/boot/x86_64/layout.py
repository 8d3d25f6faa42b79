"""Where things are on the x86_64 microvm: the original's addresses, which its users know, ports and lines."""

from __future__ import annotations

GIB_4 = 1 << 32

FLAT_ADDRESS = 0x100_0000  # where the original loads what is neither bzImage nor ELF
INITRD_MAX = 0x37FF_FFFF  # the highest address that every kernel accepts, as the original uses it
CMDLINE_MAX = 2047  # COMMAND_LINE_SIZE of Linux, less the terminating NUL
KERNEL_LIMITS = (INITRD_MAX, CMDLINE_MAX)

# Low memory, written before the guest starts and free for it afterwards.
GDT_ADDRESS = 0x500
GDT_LIMIT = 31
IDT_ADDRESS = 0x520
IDT_LIMIT = 7
START_INFO_ADDRESS = 0x6000  # PVH
ZERO_PAGE_ADDRESS = 0x7000
STACK_ADDRESS = 0x8FF0
PML4_ADDRESS = 0x9000
PDPT_ADDRESS = 0xA000
PD_ADDRESS = 0xB000  # four pages: an identity map of 4 GiB
CMDLINE_ADDRESS = 0x2_0000
LOW_RAM_END = 0x9_FC00  # the extended BIOS data area starts here on every PC
HIGH_RAM_START = 0x10_0000

# The BIOS area: reserved in e820, found by scanning.
ACPI_ADDRESS = 0xE_0000
ACPI_END = 0xF_0000
MP_ADDRESS = 0xF_0000
MP_END = 0x10_0000

# Physical address space above RAM.
RAM_GAP_START = 0xC000_0000
MMIO_BASE = 0xF010_0000
MMIO_SIZE = 0x200
IOAPIC_ADDRESS = 0xFEC0_0000
LAPIC_ADDRESS = 0xFEE0_0000
TSS_ADDRESS = 0xFFFB_D000
IOAPIC_PINS = 24  # KVM's

# Lines that no fixed device has. The original gives 5 to 15; but 8 is the clock's, and a Linux guest without
# ACPI takes it for that, so the second serial port's stands in. With ACPI it knows the IOAPIC's own too.
MMIO_GSIS = (5, 6, 7, *range(9, 16), 3, *range(16, 21))
MMIO_WINDOWS = tuple((MMIO_BASE + index * MMIO_SIZE, gsi) for index, gsi in enumerate(MMIO_GSIS))

SERIAL_PORT = 0x3F8
SERIAL_IRQ = 4
I8042_PORT = 0x60
RTC_PORT = 0x70
SLEEP_CONTROL_PORT = 0x600  # ACPI 6.4, 4.8.3.7
SLEEP_STATUS_PORT = 0x601
RESET_PORT = 0x602  # ACPI 6.4, 4.8.3.6
RESET_VALUE = 1
SLEEP_TYPE_S5 = 5


def memory_regions(size: int) -> tuple[tuple[int, int], ...]:
    """Return address and size of each piece of RAM: below the gap for devices, and the rest from 4 GiB."""
    low = min(size, RAM_GAP_START)
    if size == low:
        return ((0, low),)
    return ((0, low), (GIB_4, size - low))


def memory_map(size: int) -> tuple[tuple[int, int, int], ...]:
    """Return the e820 map: address, size and type (1 RAM, 2 reserved; ACPI 6.4, 15.1) of each range."""
    (_, low), *high = memory_regions(size)
    return (
        (0, LOW_RAM_END, 1),
        (LOW_RAM_END, HIGH_RAM_START - LOW_RAM_END, 2),
        (HIGH_RAM_START, low - HIGH_RAM_START, 1),
        *((address, length, 1) for address, length in high),
    )
