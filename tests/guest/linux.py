"""Linux guests: kernel words for the guest's init (tests/rig/README.md), and what its `SV` lines say."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from collections.abc import Sequence

GUESTS = Path(__file__).parents[2] / "build" / "guest"
CLOUD = (GUESTS / "cloud-vmlinuz", GUESTS / "cloud-initrd.cpio.gz")
SMALL = (GUESTS / "small-bzImage", GUESTS / "small-initrd.cpio.gz")
SMALL_ELF = (GUESTS / "small-vmlinux", GUESTS / "small-initrd.cpio.gz")
ROOT_IMAGE = GUESTS / "root.ext4"
TIMEOUT_S = 240.0


def words(script: str = "", *, end: str = "poweroff", more: str = "") -> str:
    """Return the kernel command line that runs a shell script in the guest and then ends it."""
    line = f"console=ttyS0 reboot=k panic=1 sv.end={end}"
    if script:
        line += f" sv.run={base64.b64encode(script.encode()).decode()}"
    return f"{line} {more}".strip()


class Report:
    """What a guest said on its console until its end."""

    def __init__(self, status: int, output: bytes, errors: str) -> None:
        self.status = status
        self.text = output.decode(errors="replace")
        self.errors = errors

    def facts(self, name: str) -> list[str]:
        """Return the values of the guest's `SV name=value` lines."""
        start = f"SV {name}="
        return [line.strip()[len(start) :] for line in self.text.splitlines() if line.startswith(start)]

    def fact(self, name: str) -> str:
        """Return the one value of that name."""
        (value,) = self.facts(name)
        return value

    @property
    def script_status(self) -> int:
        """The exit status of the script that the guest ran."""
        (line,) = [line for line in self.text.splitlines() if line.startswith("SV-EXIT ")]
        return int(line.split()[1])


def boot(*flags: str | Path) -> Report:
    """Start a machine from flags and wait for its end."""
    with Vmm(*flags, timeout=TIMEOUT_S) as vmm:
        return Report(*vmm.finish())


def boot_profile(profile: Path) -> Report:
    """Start a machine from a profile and wait for its end."""
    return boot("run", profile)


def flags(
    kernel: Sequence[Path], cmdline: str, socket: Path, *more: str | Path, memory: str = "512M"
) -> list[str | Path]:
    """Return the command line for a kernel with its initrd."""
    return [
        "-machine", "microvm", "-m", memory, "-kernel", kernel[0],
        *(("-initrd", kernel[1]) if len(kernel) > 1 else ()),
        "-append", cmdline, "-serial", "stdio", "-qmp", f"unix:{socket}", *more,
    ]  # fmt: skip


def file_in_image(image: Path, name: str, tmp_path: Path) -> bytes:
    """Return a file of an ext4 image, read on the host after a full check of the file system."""
    subprocess.run(["e2fsck", "-fp", str(image)], check=False, capture_output=True)
    subprocess.run(["e2fsck", "-fn", str(image)], check=True, capture_output=True)
    copy = tmp_path / "copy"
    subprocess.run(["debugfs", "-R", f"dump {name} {copy}", str(image)], check=True, capture_output=True)
    return copy.read_bytes()
