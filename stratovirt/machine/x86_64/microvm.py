"""The microvm board of x86_64: RAM, KVM's interrupt controllers, virtio-mmio windows, a serial port."""

from __future__ import annotations

import posix

from stratovirt.boot.kernel import KernelImage
from stratovirt.boot.x86_64 import kernels, layout
from stratovirt.boot.x86_64.plan import BootInput, plan
from stratovirt.core import check, ffi, kvm, lib
from stratovirt.errors import DocumentError, HostError, Naming
from stratovirt.machine.x86_64 import cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.boot.kernel import KernelPlan
    from stratovirt.boot.x86_64.plan import BootPlan
    from stratovirt.document.vm import Vm
    from stratovirt.machine.chassis import Chassis


class X86Microvm:
    """What a microvm always has on x86_64, and where."""

    mmio_windows = layout.MMIO_WINDOWS

    def __init__(self) -> None:
        self._boot_vcpu = -1

    def memory_regions(self, size: int) -> tuple[tuple[int, int], ...]:
        """Return RAM below the gap for devices, and the rest from 4 GiB up."""
        return layout.memory_regions(size)

    def create_interrupts(self, chassis: Chassis) -> None:
        """Make PIC, IOAPIC, local APICs and the PIT, all inside KVM."""
        fd = chassis.core.fd
        kvm.call(fd, "KVM_SET_TSS_ADDR", layout.TSS_ADDRESS)
        kvm.call(fd, "KVM_CREATE_IRQCHIP")
        # The dummy speaker lets KVM answer port 0x61, which kernels read to calibrate their clocks.
        kvm.call(
            fd, "KVM_CREATE_PIT2", ffi.new("struct kvm_pit_config *", {"flags": lib.KVM_PIT_SPEAKER_DUMMY})
        )

    def create_vcpus(self, chassis: Chassis, count: int) -> None:
        """Make the vCPUs; only the first one starts by itself."""
        self._boot_vcpu = cpu.create(chassis.core, count)

    def create_ports(self, chassis: Chassis) -> None:
        """Make the ports that end the machine and tell the time."""
        config = ffi.new(
            "struct sv_board_config *",
            {
                "i8042_port": layout.I8042_PORT,
                "rtc_port": layout.RTC_PORT,
                "sleep_port": layout.SLEEP_CONTROL_PORT,
                "reset_port": layout.RESET_PORT,
            },
        )
        check("make the board's ports", lib.sv_board_create(chassis.core.handle, config))

    def create_serial(self, chassis: Chassis, out_fd: int) -> Callable[[bytes], int]:
        """Make a 16550 at the place of the first serial port of a PC."""
        out = ffi.new("struct sv_uart **")
        check(
            "make the serial port",
            lib.sv_uart_create(chassis.core.handle, layout.SERIAL_PORT, layout.SERIAL_IRQ, out_fd, out),
        )
        uart = out[0]
        if chassis.tell is not None:
            chassis.tell(f"serial port: I/O port {layout.SERIAL_PORT:#x}, interrupt {layout.SERIAL_IRQ}")
        return lambda data: lib.sv_uart_feed(uart, data, len(data))

    def boot(self, chassis: Chassis, document: Vm) -> None:
        """Load kernel, initrd and tables into guest memory and point vCPU 0 at the kernel."""
        path = document.boot.kernel
        if path is None:
            raise DocumentError(
                "a microvm needs a kernel", ("boot", "kernel"), "set `kernel` in [boot], or -kernel"
            )
        with Naming(f"kernel {path}"), KernelImage(path, kernels.WANTED) as image:
            kernel = kernels.plan_kernel(image)
            initrd, initrd_size = _open_initrd(document.boot.initrd)
            try:
                boot = plan(_boot_input(chassis, document, kernel, initrd_size))
                for segment in kernel.segments:
                    chassis.core.load_file(
                        segment.address, image.fd, segment.file_offset, segment.file_size, f"kernel {path}"
                    )
                if initrd >= 0:
                    chassis.core.load_file(
                        boot.initrd_address, initrd, 0, initrd_size, f"initrd {document.boot.initrd}"
                    )
            finally:
                if initrd >= 0:
                    with Naming(f"initrd {document.boot.initrd}"):
                        posix.close(initrd)
        self._finish(chassis, boot)
        if chassis.tell is not None:
            chassis.tell(_described(path, kernel, boot, initrd_size))

    def _finish(self, chassis: Chassis, boot: BootPlan) -> None:
        for gpa, data in boot.writes:
            chassis.core.write_memory(gpa, data)
        cpu.set_entry(self._boot_vcpu, boot)


def _described(path: str, kernel: KernelPlan, boot: BootPlan, initrd_size: int) -> str:
    """Return what was loaded and where the guest begins, for a reader."""
    loaded = f"kernel {path}: {kernel.protocol}, up to {kernel.end:#x}, entered at {boot.entry:#x}"
    return f"{loaded}; initrd: {initrd_size} bytes at {boot.initrd_address:#x}" if initrd_size else loaded


def _boot_input(chassis: Chassis, document: Vm, kernel: KernelPlan, initrd_size: int) -> BootInput:
    return BootInput(
        ram_size=document.memory.size,
        cpus=document.cpu.count,
        cmdline=document.boot.cmdline or "",
        kernel=kernel,
        initrd_size=initrd_size,
        initrd_path=document.boot.initrd or "",
        slots=tuple(chassis.windows),
        serial=chassis.feed_serial is not None,
    )


def _open_initrd(path: str | None) -> tuple[int, int]:
    if path is None:
        return -1, 0
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)  # as KernelImage does
    except OSError as error:
        raise HostError(
            f"open initrd {path}", error, hint="set `initrd` in [boot], or -initrd, to a file"
        ) from error
    with Naming(f"initrd {path}"):
        status = posix.fstat(fd)
    if (status.st_mode & 0o170000) != 0o100000:
        posix.close(fd)
        raise DocumentError(f"initrd {path} is not a regular file", ("boot", "initrd"), "name a cpio archive")
    return fd, status.st_size


BOARD = X86Microvm
