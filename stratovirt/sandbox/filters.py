"""Which system calls each kind of thread may make, and with which arguments; nothing else is needed.

Names are the kernel's; numbers come from the compiler. Arguments count from 0. A call that stands in no
list ends the process: execve, clone, prctl and ptrace are in none. Log-only mode (docs/sandbox.md) tells
what a new C library or Python needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    # Number of the argument, then the words that it may be; or, with False, the bits that it must not have.
    Rule = tuple[int, bool, tuple[str, ...]]
    Calls = Mapping[str, Rule | None]


def _one_of(argument: int, *words: str) -> Rule:
    return argument, True, words


def _without(argument: int, *words: str) -> Rule:
    return argument, False, words


# What a vhost module is asked for when a driver starts a device, and when the device stops.
_VHOST_START = (
    "VHOST_SET_FEATURES",
    "VHOST_SET_MEM_TABLE",
    "VHOST_SET_VRING_NUM",
    "VHOST_SET_VRING_BASE",
    "VHOST_SET_VRING_ADDR",
    "VHOST_SET_VRING_ERR",
)
_VHOST_STOP = (
    "VHOST_GET_VRING_BASE",
    "VHOST_SET_VRING_KICK",
    "VHOST_SET_VRING_CALL",
    "VHOST_NET_SET_BACKEND",
    "VHOST_VSOCK_SET_RUNNING",
)
_NO_CODE = _without(2, "PROT_EXEC")  # of mmap(2) and mprotect(2)

# The most frequent first: a program is run from its top.
VCPU: Calls = {
    "ioctl": _one_of(1, "KVM_RUN", "SV_DESCRIBE_IOCTL"),  # to run, and to tell why it cannot go on
    "write": None,  # eventfds, serial output
    "futex": None,
    "poll": None,  # is there room for serial output
    "clock_gettime": None,  # of the board's clock; seldom a system call
    "epoll_ctl": None,
    "tgkill": None,  # kicks the other vCPUs
    "getpid": None,  # for tgkill
    "rt_sigreturn": None,
    "rt_sigprocmask": None,
    "restart_syscall": None,
    "madvise": None,  # the C library gives back the stack of a thread that ends,
    "munmap": None,  # and what it got where the heap could not grow (RLIMIT_AS)
    "exit": None,
    "exit_group": None,
}

IOTHREAD: Calls = {
    "epoll_wait": None,
    "io_uring_enter": None,
    "read": None,
    "write": None,
    "readv": None,
    "writev": None,
    "pread64": None,
    "pwrite64": None,
    "preadv": None,
    "pwritev2": None,
    "fdatasync": None,
    "fallocate": None,
    "sendmsg": None,
    "sendto": None,
    "recvfrom": None,
    "futex": None,
    "clock_gettime": None,
    "timerfd_settime": None,
    "epoll_ctl": None,
    "poll": None,  # is there room for serial output, is the tap still there
    "madvise": None,
    "ioctl": _one_of(1, "TUNSETOFFLOAD", "TUNSETQUEUE", *_VHOST_START, *_VHOST_STOP),
    "accept4": None,
    "socket": _one_of(0, "AF_UNIX"),  # a guest's connection to the host
    "connect": None,
    "shutdown": None,
    "close": None,
    "fcntl": _one_of(1, "F_DUPFD_CLOEXEC"),
    "mmap": _NO_CODE,
    "munmap": None,
    "mprotect": _NO_CODE,
    "brk": None,
    "gettid": None,
    "rt_sigreturn": None,
    "rt_sigprocmask": None,
    "restart_syscall": None,
    "exit": None,
    "exit_group": None,
}

CONTROL: Calls = {
    "epoll_wait": None,
    "epoll_ctl": None,
    "read": None,
    "write": None,
    "recvmsg": None,
    "recvfrom": None,
    "sendto": None,
    "accept4": None,
    "getsockname": None,
    "getsockopt": None,
    "futex": None,
    "clock_gettime": None,
    "getpid": None,
    "gettid": None,
    "tgkill": None,
    "openat": None,
    "newfstatat": None,
    "fstat": None,
    "lseek": None,
    "getdents64": None,
    "preadv2": None,  # what O_DIRECT wants of an image
    "unlink": None,
    "close": None,
    "dup3": None,
    "fcntl": _one_of(
        1, "F_DUPFD_CLOEXEC", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_OFD_SETLK"
    ),
    "ioctl": _one_of(
        1, "TCGETS", "TCSETS", "TIOCGPGRP", "TIOCGWINSZ", "FIOCLEX", "FIONBIO",
        "TUNSETIFF", "TUNGETIFF", "TUNSETOFFLOAD", "TUNSETVNETHDRSZ",
        *_VHOST_STOP,  # of devices that go at the end: their I/O thread has ended
    ),
    "mmap": _NO_CODE,
    "munmap": None,
    "mprotect": _NO_CODE,
    "mremap": None,
    "brk": None,
    "madvise": None,
    "rt_sigaction": None,
    "rt_sigreturn": None,
    "rt_sigprocmask": None,
    "restart_syscall": None,
    "getpgrp": None,  # is the terminal ours
    "timerfd_settime": None,  # of a vsock device that goes: its I/O thread has ended
    "wait4": None,  # for the shell that guards the terminal
    "exit_group": None,
}  # fmt: skip

# What takes the place of calls that newer architectures do not have.
SUCCESSORS = {"epoll_wait": "epoll_pwait", "poll": "ppoll", "unlink": "unlinkat", "getpgrp": "getpgid"}
