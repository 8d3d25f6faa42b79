"""vCPUs of x86_64: CPUID, model-specific and control registers, the local APIC (Intel SDM, AMD APM)."""

from __future__ import annotations

from stratovirt.core import ffi, kvm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.boot.x86_64.plan import BootPlan
    from stratovirt.core._core import CData
    from stratovirt.core.vm import CoreVm

MAX_CPUID_ENTRIES = 256

CR0_PE = 1 << 0
CR0_ET = 1 << 4
CR0_PG = 1 << 31
CR4_PAE = 1 << 5
EFER_LME = 1 << 8
EFER_LMA = 1 << 10
RFLAGS_FIXED = 2

MSR_IA32_MISC_ENABLE = 0x1A0
MISC_ENABLE_FAST_STRING = 1
MSR_MTRR_DEF_TYPE = 0x2FF
MTRR_ENABLED_WRITE_BACK = (1 << 11) | 6

APIC_LVT_LINT0 = 0x350
APIC_LVT_LINT1 = 0x360
APIC_MODE_EXTINT = 0x700
APIC_MODE_NMI = 0x400

LEVEL_THREAD = 1 << 8  # CPUID leaf 0xB, ECX[15:8]
LEVEL_CORE = 2 << 8


def supported_cpuid(core: CoreVm) -> CData:
    """Return the CPUID entries that KVM can give a guest of this host."""
    table = ffi.new("struct kvm_cpuid2 *", {"entries": MAX_CPUID_ENTRIES})
    table.nent = MAX_CPUID_ENTRIES
    kvm.call(core.kvm, "KVM_GET_SUPPORTED_CPUID", table)
    return table


def set_cpuid(fd: int, table: CData, index: int, count: int) -> None:
    """Tell vCPU `index` who it is: one socket, `count` cores, one thread each."""
    for entry in table.entries[0 : table.nent]:
        edit = _EDITS.get(entry.function)
        if edit is not None:
            edit(entry, index, count)
    kvm.call(fd, "KVM_SET_CPUID2", table)


def _features(entry: CData, index: int, count: int) -> None:
    entry.ecx |= (1 << 31) | (1 << 24)  # hypervisor present; TSC deadline timer, which KVM always emulates
    ids = min(1 << (count - 1).bit_length(), 255)
    entry.ebx = (index << 24) | (ids << 16 if count > 1 else 0) | (8 << 8)  # 64-byte CLFLUSH lines
    entry.edx = entry.edx | (1 << 28) if count > 1 else entry.edx & ~(1 << 28)


def _cache(entry: CData, _index: int, count: int) -> None:
    if entry.eax & 0x1F:  # a cache; EAX[31:26] is cores in the package, less one
        entry.eax = (entry.eax & 0x3FFF) | (min(count - 1, 63) << 26)


def _power(entry: CData, _index: int, _count: int) -> None:
    entry.ecx &= ~(1 << 3)  # no energy-performance bias: its MSR is not the guest's


def _topology(entry: CData, index: int, count: int) -> None:
    level = entry.index
    entry.eax, entry.ebx, entry.ecx, entry.edx = 0, 0, level, index
    if level == 0:
        entry.ebx, entry.ecx = 1, level | LEVEL_THREAD
    elif level == 1:
        entry.eax, entry.ebx, entry.ecx = (count - 1).bit_length(), count, level | LEVEL_CORE


def _amd_sizes(entry: CData, _index: int, count: int) -> None:
    # APM 3, E.4.7: bits of the core id, cores less one.
    entry.ecx = ((count - 1).bit_length() << 12) | (count - 1)


def _amd_topology(entry: CData, index: int, _count: int) -> None:
    entry.eax, entry.ebx, entry.ecx = index, index & 0xFF, 0  # APM 3, E.4.16: one thread a core, one node


def _nothing(entry: CData, _index: int, _count: int) -> None:
    entry.eax, entry.ebx, entry.ecx, entry.edx = 0, 0, 0, 0


_EDITS = {
    0x1: _features,
    0x4: _cache,
    0x6: _power,
    0xB: _topology,
    0x1F: _nothing,  # would contradict leaf 0xB, which every guest knows
    0x8000_0008: _amd_sizes,
    0x8000_001D: _cache,
    0x8000_001E: _amd_topology,
}


def set_msrs(fd: int) -> None:
    """Set what firmware would have: fast string operations, and memory that is write-back by default."""
    wanted = ((MSR_IA32_MISC_ENABLE, MISC_ENABLE_FAST_STRING), (MSR_MTRR_DEF_TYPE, MTRR_ENABLED_WRITE_BACK))
    msrs = ffi.new("struct kvm_msrs *", {"entries": [{"index": i, "data": value} for i, value in wanted]})
    msrs.nmsrs = len(wanted)
    kvm.call(fd, "KVM_SET_MSRS", msrs)


def set_lapic(fd: int) -> None:
    """Wire LINT0 to the PIC and LINT1 to NMI, as firmware leaves them (MP Specification 1.4, 3.6.2.2)."""
    state = ffi.new("struct kvm_lapic_state *")
    kvm.call(fd, "KVM_GET_LAPIC", state)
    registers = ffi.buffer(state)
    for offset, mode in ((APIC_LVT_LINT0, APIC_MODE_EXTINT), (APIC_LVT_LINT1, APIC_MODE_NMI)):
        old = int.from_bytes(registers[offset : offset + 4], "little")
        registers[offset : offset + 4] = ((old & ~0x700) | mode).to_bytes(4, "little")
    kvm.call(fd, "KVM_SET_LAPIC", state)


def set_entry(fd: int, plan: BootPlan) -> None:
    """Point a vCPU at what it runs first, in the mode that the boot protocol asks for."""
    sregs = ffi.new("struct kvm_sregs *")
    kvm.call(fd, "KVM_GET_SREGS", sregs)
    long_mode = plan.protocol != "pvh"
    _set_segments(sregs, long_mode=long_mode)
    sregs.gdt.base, sregs.gdt.limit = plan.gdt_address, plan.gdt_limit
    sregs.idt.base, sregs.idt.limit = plan.idt_address, plan.idt_limit
    sregs.cr0 = CR0_PE | CR0_ET
    if long_mode:
        sregs.cr0 |= CR0_PG
        sregs.cr3 = plan.page_table_address
        sregs.cr4 |= CR4_PAE
        sregs.efer |= EFER_LME | EFER_LMA
    kvm.call(fd, "KVM_SET_SREGS", sregs)
    regs = ffi.new("struct kvm_regs *")
    regs.rip = plan.entry
    regs.rflags = RFLAGS_FIXED
    regs.rsp = regs.rbp = plan.stack_address
    # The boot protocols' one argument: RSI for Linux (Documentation/arch/x86/boot.rst), EBX for PVH.
    regs.rsi = regs.rbx = plan.info_address
    kvm.call(fd, "KVM_SET_REGS", regs)


def _set_segments(sregs: CData, *, long_mode: bool) -> None:
    code = {"base": 0, "limit": 0xFFFF_FFFF, "selector": 0x10, "type": 0xB, "present": 1, "s": 1, "g": 1}
    data = {**code, "selector": 0x18, "type": 0x3, "db": 1}
    sregs.cs = {**code, "l": 1} if long_mode else {**code, "db": 1}
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(sregs, name, data)
    sregs.tr = {"base": 0, "limit": 0x67, "type": 0xB, "present": 1}


def create(core: CoreVm, count: int) -> int:
    """Make all vCPUs and return the first; the others wait for a start-up interrupt from the guest."""
    table = supported_cpuid(core)
    fds = [core.create_vcpu(index) for index in range(count)]
    for index, fd in enumerate(fds):
        set_cpuid(fd, table, index, count)
        set_msrs(fd)
        set_lapic(fd)
    return fds[0]
