"""The cffi module: the C core and the kernel structures that Python fills, in API mode.

setuptools runs it with the project's root as working directory; `make core` builds in place.
"""

import platform
from pathlib import Path

from cffi import FFI

ROOM = Path("stratovirt/core/src")
SYSTEM = (
    "fcntl.h", "sys/ioctl.h", "sys/mman.h", "sys/socket.h", "linux/audit.h", "linux/if_tun.h", "linux/kvm.h",
    "linux/seccomp.h", "linux/vhost.h",
)  # fmt: skip
# Returns and indirect calls go where they should: as far as the processor can tell.
BRANCHES = {"x86_64": "-fcf-protection=full", "aarch64": "-mbranch-protection=standard"}
# The last one leaves the others in the binary, where tests/contract/test_hardening.py reads them.
HARDENED = [
    "-fstack-protector-strong", "-fstack-clash-protection", BRANCHES[platform.machine()],
    "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fvisibility=hidden", "-fno-strict-aliasing",
    "-frecord-gcc-switches",
]  # fmt: skip

ffibuilder = FFI()
ffibuilder.cdef((ROOM / "abi.h").read_text() + (ROOM / "kvm_structs.h").read_text())
ffibuilder.cdef((ROOM / "host_numbers.h").read_text())
ffibuilder.set_source(
    "stratovirt.core._core",
    "".join(f"#include <{name}>\n" for name in SYSTEM) + '#include "sv.h"\n',
    sources=sorted(str(path) for path in ROOM.glob("*.c")),
    depends=[*sorted(str(path) for path in ROOM.glob("*.h")), "stratovirt/core/build.py"],
    include_dirs=[str(ROOM)],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", *HARDENED],
    extra_link_args=["-Wl,-z,relro,-z,now,-z,noexecstack"],
    libraries=["pthread"],
)
