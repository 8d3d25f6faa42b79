"""The cffi module: the C core and the kernel structures that Python fills, in API mode.

setuptools runs it with the project's root as working directory; `make core` builds in place.
"""

import platform
from pathlib import Path
from runpy import run_path

from cffi import FFI

ROOM = Path("stratovirt/core/src")
# What depends on the architecture has a room below, named as the machine calls itself; the same file names in
# each (docs/architecture.md). This is the one place where the core's sources choose.
ARCH_ROOM = ROOM / platform.machine()
SYSTEM = (
    "fcntl.h", "sys/ioctl.h", "sys/mman.h", "sys/socket.h", "linux/audit.h", "linux/if_tun.h", "linux/kvm.h",
    "linux/seccomp.h", "linux/vhost.h", "sys/un.h",
)  # fmt: skip
DECLARED = (
    ROOM / "abi.h", ARCH_ROOM / "arch_abi.h", ROOM / "kvm_structs.h", ARCH_ROOM / "arch_kvm.h",
    ROOM / "host_numbers.h",
)  # fmt: skip

if not ARCH_ROOM.is_dir():
    rooms = ", ".join(sorted(path.name for path in ROOM.iterdir() if path.is_dir()))
    raise SystemExit(f"stratovirt: the C core knows no {platform.machine()}; it can be built on {rooms}")

SWITCHES = run_path("stratovirt/core/switches.py")

ffibuilder = FFI()
ffibuilder.cdef("".join(path.read_text() for path in DECLARED))
ffibuilder.set_source(
    "stratovirt.core._core",
    "".join(f"#include <{name}>\n" for name in SYSTEM) + '#include "sv.h"\n',
    sources=sorted(str(path) for room in (ROOM, ARCH_ROOM) for path in room.glob("*.c")),
    depends=[
        *sorted(str(path) for room in (ROOM, ARCH_ROOM) for path in room.glob("*.h")),
        str(ARCH_ROOM / "switches"),
        "stratovirt/core/build.py",
        "stratovirt/core/switches.py",
    ],
    include_dirs=[str(ROOM), str(ARCH_ROOM)],
    define_macros=[("_GNU_SOURCE", None)],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", *SWITCHES["HARDENED"]],
    extra_link_args=SWITCHES["LINKED"],
    libraries=["pthread"],
)
