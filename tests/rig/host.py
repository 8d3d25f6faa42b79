"""What this host can do: hardware virtualization, free memory. And where Linux guests run because of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.rig.say import RigError

INSIDE = "STRATOVIRT_RIG"  # set to 1 in the environment of what runs inside the rig
LEAST_MIB = 2048
MOST_MIB = 6144
MIB_PER_KIB = 1024


def hardware_virtualization(cpuinfo: str, *, kvm_usable: bool) -> bool:
    """Tell whether Linux guests run well on this host itself: VT-x or AMD-V, and a usable /dev/kvm."""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    words = flags.group(1).split() if flags else []
    return kvm_usable and ("vmx" in words or "svm" in words)


def runs_directly() -> bool:
    """Tell whether this host runs Linux guests itself."""
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK)
    return hardware_virtualization(Path("/proc/cpuinfo").read_text(), kvm_usable=usable)


def rig_memory_mib(meminfo: str) -> int:
    """Return the memory to give the rig: half of what is available, 2 to 6 GiB."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.MULTILINE)
    available = int(found.group(1)) // MIB_PER_KIB if found else 0
    if available < LEAST_MIB + 1024:
        raise RigError(
            f"the rig needs {LEAST_MIB + 1024} MiB of free memory; {available} MiB are available",
            "end other programs, or use a machine with more memory",
        )
    return max(LEAST_MIB, min(MOST_MIB, available // 2))
