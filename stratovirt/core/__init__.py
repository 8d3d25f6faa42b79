"""The boundary to the C core: handles, and -errno turned into CoreError."""

from __future__ import annotations

from stratovirt.errors import CoreError, StratovirtError

try:
    from stratovirt.core._core import ffi, lib
except ImportError as error:
    raise StratovirtError(
        f"the C core cannot be loaded: {error}",
        hint="run `make core` in the checkout, or install the package again",
    ) from error

ABI_VERSION = 6  # what this Python code speaks; abi.h says what the binary does

if lib.sv_abi_version() != ABI_VERSION:
    raise StratovirtError("the C core was built from other sources than this package", hint="run `make core`")


HINT = "has the process met a limit (ulimit, cgroup)? the host's log may say more (dmesg)"


def check(call: str, result: int, hint: str = "") -> int:
    """Return what a core call returned, or raise its -errno as the failure of `call`."""
    if result < 0:
        raise CoreError(call, result, hint or HINT)
    return result


__all__ = ["check", "ffi", "lib"]
