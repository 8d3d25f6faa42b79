"""What all C of the project is compiled and linked with, beside warnings: setup.py and the builders read it.

The switches of the room are for returns and indirect calls, as far as the processor can tell. The last one of
HARDENED leaves the others in the binary, where tests/contract/test_hardening.py reads them.
"""

import platform
from pathlib import Path

HARDENED = [
    "-fstack-protector-strong", "-fstack-clash-protection",
    *Path("stratovirt/core/src", platform.machine(), "switches").read_text().split(),
    "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fvisibility=hidden", "-fno-strict-aliasing",
    "-frecord-gcc-switches",
]  # fmt: skip
LINKED = ["-Wl,-z,relro,-z,now,-z,noexecstack"]
