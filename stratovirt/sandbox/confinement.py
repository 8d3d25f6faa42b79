"""What threads give up: system calls, by a filter for their kind, and all capabilities (docs/sandbox.md)."""

from __future__ import annotations

import posix

from stratovirt.core import check, ffi, lib
from stratovirt.core.vm import SECCOMP_HINT
from stratovirt.sandbox import filters
from stratovirt.sandbox.bpf import Condition, assemble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core._core import CData
    from stratovirt.sandbox.filters import Calls, Rule

OPENED_LATER = 2048  # descriptors: of QMP's clients, connections of vsock and consoles, what is plugged in


def confine_core_threads(machine: CData, *, capabilities: bool) -> None:
    """Have no program gain rights, and threads of the core, none made yet, begin without capabilities.

    With `capabilities` they have those of the process.
    """
    check("give up new privileges", lib.sv_confine_process())
    if not capabilities:
        lib.sv_confine_threads(machine)


def confine_control_thread(*, capabilities: bool) -> None:
    """Have the calling thread give up its capabilities, unless it keeps `capabilities`; bound open files."""
    if not capabilities:
        check("give up the capabilities", lib.sv_confine_thread(), 'capabilities = "keep" goes without')
    try:
        used = max(map(int, posix.listdir("/proc/self/fd")))
    except OSError:
        return  # without /proc nobody knows how many there are: the limit of whoever started us stands
    check("bound the open files", lib.sv_confine_files(used + OPENED_LATER))


def filter_core_threads(machine: CData, *, log_only: bool) -> None:
    """Have the threads of a machine of the core, none of which is made yet, begin with their filters."""
    check("filter system calls", lib.sv_sandbox_prepare(), SECCOMP_HINT)
    for kind, calls in ((lib.SV_SANDBOX_VCPU, filters.VCPU), (lib.SV_SANDBOX_IOTHREAD, filters.IOTHREAD)):
        steps = program(calls, log_only=log_only)
        check(
            "keep a filter of system calls",
            lib.sv_sandbox_set(machine, kind, ffi.new("uint64_t[]", steps), len(steps)),
        )


def counts() -> str:
    """Return how many system calls each kind of thread may make, for a reader."""
    kinds = (("vCPUs", filters.VCPU), ("I/O threads", filters.IOTHREAD), ("control thread", filters.CONTROL))
    return ", ".join(f"{name} {len(calls)} system calls" for name, calls in kinds)


def tell_last_words(log_fd: int, *, json: bool, utc_offset: int) -> None:
    """Have what ends the process at once be told in the log too, beside stderr; -1 for no log.

    A signal handler cannot find out the local time: `utc_offset`, in seconds, is what it goes by.
    """
    lib.sv_last_words(log_fd, json, utc_offset)


def filter_control_thread(*, log_only: bool) -> None:
    """Filter the calling thread for good."""
    check("filter system calls", lib.sv_sandbox_prepare(), SECCOMP_HINT)
    steps = program(filters.CONTROL, log_only=log_only)
    check("filter system calls", lib.sv_sandbox_enter(ffi.new("uint64_t[]", steps), len(steps)), SECCOMP_HINT)


def program(calls: Calls, *, log_only: bool) -> list[int]:
    """Return the program for a list of calls; in log-only mode everything is allowed, and the rest logged."""
    deny = lib.SECCOMP_RET_LOG if log_only else lib.SECCOMP_RET_TRAP
    alien = lib.SECCOMP_RET_LOG if log_only else lib.SECCOMP_RET_KILL_PROCESS
    rules = [(number_of(name), None if rule is None else _condition(rule)) for name, rule in calls.items()]
    return assemble(lib.SV_AUDIT_ARCH, rules, allow=lib.SECCOMP_RET_ALLOW, deny=deny, alien=alien)


def number_of(name: str) -> int:
    """Return the number of a system call on this architecture, or of its successor there."""
    number = lib.sv_syscall_number(name.encode())
    if number < 0 and name in filters.SUCCESSORS:
        number = lib.sv_syscall_number(filters.SUCCESSORS[name].encode())
    return check(f"find system call {name}", number)


def _condition(rule: Rule) -> Condition:
    argument, wanted, words = rule
    values = tuple(getattr(lib, word) for word in words)
    return Condition(argument, values) if wanted else Condition(argument, forbidden=sum(values))
