"""CoreVm: the owner of KVM's VM, guest memory and the C core's machine."""

from __future__ import annotations

import errno
import posix

from stratovirt.core import check, ffi, kvm, lib
from stratovirt.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core._core import CData

EVENTS_AT_ONCE = 32
THREAD_HINT = "raise the limit of memory or of processes (ulimit -v, ulimit -u, the cgroup's pids.max)"
SECCOMP_HINT = "use a kernel with seccomp filters, or start with -disable-seccomp (process.seccomp = false)"


class CoreVm:
    """KVM's VM with its memory and vCPUs. Everything is released by close(), in the right order."""

    def __init__(self) -> None:
        self.kvm = kvm.open_device()
        self.fd = -1
        self._handle: CData = ffi.NULL
        self._vcpu_fds: list[int] = []
        self._slots = 0  # of KVM's memory
        self.huge_pages = False  # guest memory is made of them
        try:
            self.fd = kvm.call(self.kvm, "KVM_CREATE_VM")
            out = ffi.new("struct sv_vm **")
            check("make the machine in the core", lib.sv_vm_create(self.fd, out))
        except BaseException:
            self.close()
            raise
        self._handle = out[0]
        self._events = ffi.new("struct sv_event[]", EVENTS_AT_ONCE)

    @property
    def handle(self) -> CData:
        """The core's handle."""
        return self._handle

    def close(self) -> None:
        """Stop every thread and release everything; harmless when done before."""
        if self._handle != ffi.NULL:
            lib.sv_vm_destroy(self._handle)
            self._handle = ffi.NULL
        for fd in [*self._vcpu_fds, self.fd, self.kvm]:
            if fd >= 0:
                posix.close(fd)
        self._vcpu_fds, self.fd, self.kvm = [], -1, -1

    def map_memory(self, fd: int, size: int, flags: int, hint: str) -> object:
        """Map memory for add_memory(), of a file or of nobody (-1); `flags` are SV_MAP_*."""
        out = ffi.new("void **")
        check(
            f"map {format_size(size)} of guest memory",
            lib.sv_mem_map(self._handle, fd, size, flags, out),
            hint,
        )
        return ffi.buffer(out[0], size)

    def populate_memory(self, threads: int, hint: str) -> None:
        """Have the host find every page of what is mapped, with so many threads."""
        check("allocate all guest memory", lib.sv_mem_populate(self._handle, threads), hint)

    def add_memory(self, gpa: int, buffer: object, offset: int, size: int) -> None:
        """Let the guest see `size` bytes of a mapping, from `offset`, at guest physical address `gpa`."""
        host = ffi.from_buffer(buffer) + offset
        region = ffi.new("struct kvm_userspace_memory_region *")
        region.slot = self._slots
        region.guest_phys_addr = gpa
        region.memory_size = size
        region.userspace_addr = int(ffi.cast("uintptr_t", host))
        kvm.call(self.fd, "KVM_SET_USER_MEMORY_REGION", region)
        check("tell the core of guest memory", lib.sv_mem_add(self._handle, gpa, size, host))
        self._slots += 1

    def describe_memory(self, *, page_size: int, shared: bool) -> None:
        """Tell of which host pages guest memory is made, and whether others can map it; before devices."""
        check(f"use host pages of {page_size} bytes", lib.sv_mem_kind(self._handle, page_size, int(shared)))
        self.huge_pages = page_size > posix.sysconf("SC_PAGESIZE")

    def write_memory(self, gpa: int, data: bytes) -> None:
        """Copy bytes into guest memory."""
        check(
            f"write {len(data)} bytes at {gpa:#x} of guest memory",
            lib.sv_mem_write(self._handle, gpa, data, len(data)),
        )

    def load_file(self, gpa: int, fd: int, offset: int, length: int, name: str) -> None:
        """Read a piece of a file straight into guest memory."""
        check(
            f"load {name} to {gpa:#x} of guest memory",
            lib.sv_mem_load(self._handle, gpa, fd, offset, length),
            "is the file whole, and can it be read to its end?",
        )

    def create_vcpu(self, index: int) -> int:
        """Make a vCPU and return its descriptor, which stays ours."""
        fd = kvm.call(self.fd, "KVM_CREATE_VCPU", index)
        self._vcpu_fds.append(fd)
        size = kvm.call(self.kvm, "KVM_GET_VCPU_MMAP_SIZE")
        check(f"take vCPU {index}", lib.sv_vcpu_add(self._handle, fd, size))
        return fd

    def start_vcpus(self, *, parked: bool) -> None:
        """Start the vCPU threads; parked ones wait for resume()."""
        check("confine the I/O threads", lib.sv_iothreads_ready(self._handle), SECCOMP_HINT)
        result = lib.sv_vcpus_start(self._handle, parked)
        short = -result in {errno.EAGAIN, errno.ENOMEM}
        check("start the vCPU threads", result, THREAD_HINT if short else SECCOMP_HINT)

    def hand_over_notifications(self) -> None:
        """Have KVM itself pass on what drivers notify; until then each one is an exit of its vCPU."""
        check("have KVM pass on notifications", lib.sv_mmio_hand_over(self._handle))

    def pause(self, timeout_ms: int) -> bool:
        """Ask every vCPU to park and wait; False when one did not within the time."""
        lib.sv_pause(self._handle)
        return lib.sv_wait_parked(self._handle, timeout_ms) == 0

    def resume(self) -> None:
        """Let the vCPUs run on."""
        lib.sv_resume(self._handle)

    def trace(self) -> None:
        """Have the steps of the guest's drivers be told by events; before the vCPUs start."""
        lib.sv_trace(self._handle)

    def stop_vcpus(self) -> None:
        """End the vCPU threads and wait for them."""
        lib.sv_vcpus_stop(self._handle)

    def vcpu_threads(self) -> tuple[int, ...]:
        """Return the thread id of each vCPU."""
        return tuple(lib.sv_vcpu_tid(self._handle, index) for index in range(len(self._vcpu_fds)))

    @property
    def events_fd(self) -> int:
        """A descriptor that is readable while there are events."""
        return lib.sv_events_fd(self._handle)

    def take_events(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return waiting events as kind, source and data words."""
        count = check("take events", lib.sv_events_take(self._handle, self._events, EVENTS_AT_ONCE))
        return [(event.kind, event.source, tuple(event.data)) for event in self._events[0:count]]
