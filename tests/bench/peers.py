"""The two programs with the same tiny guest: one vCPU, 256 MiB, serial port on stdio, a QMP socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLACE = Path("build/bench-installed")
PYTHON = str(PLACE / "bin" / "python")
SCRIPT = str(PLACE / "bin" / "stratovirt")
BARE = [PYTHON, "-c", "pass"]
CHECK = [SCRIPT, "check", "profiles/microvm.toml"]


def install() -> None:
    """Install the package as a user does: a wheel, in an environment without the tests' packages."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
    for what in (["--upgrade", "pip"], ["."]):
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *what], check=True)


def ours(kernel: Path, socket: Path) -> list[str]:
    """Return our command line."""
    return [SCRIPT, *_flags(kernel, socket)]


def profile(kernel: Path, socket: Path) -> list[str]:
    """Return ours for the same machine from a profile, which stands beside the socket."""
    path = socket.with_suffix(".toml")
    path.write_text(
        f"""
version = 1
[machine]
type = "microvm"
[cpu]
count = 1
[memory]
size = "256M"
[boot]
kernel = "{kernel.absolute()}"
[qmp]
socket = "{socket}"
[serial]
backend = "stdio"
"""
    )
    return [SCRIPT, "run", str(path)]


def grouped(kernel: Path, socket: Path) -> list[str]:
    """Return ours as a program on the interpreter's command line, to compare one_by_one() with."""
    return [PYTHON, "-c", "from stratovirt.cli import main; main()", *_flags(kernel, socket)]


def one_by_one(kernel: Path, socket: Path) -> list[str]:
    """Return the same without the groups of the start image: each module is found and made alone."""
    program = "from stratovirt import cli; cli.image.preload = len; cli.main()"
    return [PYTHON, "-c", program, *_flags(kernel, socket)]


def _flags(kernel: Path, socket: Path) -> list[str]:
    return [
        "-machine", "microvm", "-smp", "1", "-m", "256M", "-kernel", str(kernel),
        "-serial", "stdio", "-qmp", f"unix:{socket}",
    ]  # fmt: skip


def qemu(kernel: Path, socket: Path) -> list[str]:
    """Return QEMU's, with everything off that this guest does not need."""
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm",
        "-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=off", "-cpu", "host,-arch-capabilities",
        "-smp", "1", "-m", "256M", "-kernel", str(kernel), "-serial", "stdio",
        "-qmp", f"unix:{socket},server=on,wait=off",
    ]  # fmt: skip


if __name__ == "__main__":
    install()
