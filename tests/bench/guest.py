"""Linux guests beside QEMU's microvm: same kernel, initramfs, disk and options, pair by pair in one run."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import peers
from tests.guest.linux import SMALL, words
from tests.guest.programs import initrd_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    Figures = dict[str, float]
    Pairs = dict[str, list[tuple[float, float]]]

RUNS = 5
SECONDS = 1.5
TIMEOUT_S = 120
IMAGE_MIB = 128
CELLS = (
    ("random read, 4 KiB, depth 1", "read random 4096 1"),
    ("random read, 4 KiB, depth 32", "read random 4096 32"),
    ("random write, 4 KiB, depth 1", "write random 4096 1"),
    ("random write, 4 KiB, depth 32", "write random 4096 32"),
    ("sequential read, 128 KiB, depth 4", "read sequential 131072 4"),
    ("sequential write, 128 KiB, depth 4", "write sequential 131072 4"),
)
LINE = "CELL"


def pairs(runs: int) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    """Yield name, unit and pairs of (ours, QEMU's). Rates are turned round: less is better everywhere."""
    found: Pairs = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("STRATOVIRT_RIG_SCRATCH")) as folder:
        place = Path(folder)
        image = place / "disk"
        image.write_bytes(os.urandom(1 << 20) * IMAGE_MIB)
        initrd = initrd_with(SMALL[1], place / "initrd", "disk_load")
        for direct in (True, False):
            for _ in range(runs):
                both = [_once(command(initrd, image, place, direct=direct)) for command in (ours, qemu)]
                _collect(found, both, "O_DIRECT" if direct else "page cache")
    for name, values in found.items():
        yield name, "s" if name.startswith("boot") else "us", values


def _collect(found: Pairs, both: list[Figures], how: str) -> None:
    for name in both[0]:
        label = name if name.startswith("boot") else f"{name}, {how}"
        found.setdefault(label, []).append((both[0][name], both[1][name]))


def _script() -> str:
    lines = [f'echo "{LINE} {name}=$(disk_load /dev/vda {what} {SECONDS})"' for name, what in CELLS]
    return "\n".join(lines)


def _cmdline() -> str:
    return words(_script(), end="reboot", more="quiet")


def ours(initrd: Path, image: Path, folder: Path, *, direct: bool) -> list[str]:
    """Return our command line; slots for hot replace are QEMU's not, so the profile has none."""
    profile = folder / "guest.toml"
    profile.write_text(
        f"""
version = 1
cpu.count = 1
memory.size = "256M"
[machine]
drive_slots = 0
net_slots = 0
[boot]
kernel = "{SMALL[0]}"
initrd = "{initrd}"
cmdline = "{_cmdline()}"
[serial]
[iothread.io]
[drive.disk]
file = "{image}"
direct = {str(direct).lower()}
iothread = "io"
"""
    )
    return [peers.SCRIPT, "run", str(profile)]


def qemu(initrd: Path, image: Path, _folder: Path, *, direct: bool) -> list[str]:
    """Return QEMU's, with io_uring, an iothread, and the clock that the guest would miss for seconds."""
    cache = "none" if direct else "writeback"
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        "-accel", "kvm", "-no-reboot",
        "-M", "microvm,x-option-roms=off,rtc=on", "-cpu", "host", "-smp", "1", "-m", "256M",
        "-kernel", str(SMALL[0]), "-initrd", str(initrd), "-append", _cmdline(), "-serial", "stdio",
        "-object", "iothread,id=io",
        "-drive", f"if=none,id=disk,format=raw,file={image},cache={cache},aio=io_uring",
        "-device", "virtio-blk-device,drive=disk,iothread=io",
    ]  # fmt: skip


def _once(command: list[str]) -> Figures:
    """Run a guest; return seconds to its init, and microseconds for a request of each cell."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            output = _read_until(process.stdout.fileno(), b"SV-BEGIN", begin)
            figures = {"boot to init, small kernel": time.monotonic() - begin}
            output = _read_until(process.stdout.fileno(), b"SV-EXIT", begin, output)
        finally:
            process.kill()
    for line in output.decode(errors="replace").splitlines():
        if line.startswith(LINE):
            name, _, rate = line.removeprefix(f"{LINE} ").rpartition("=")
            figures[name] = 1e6 / float(rate)
    return figures


def _read_until(fd: int, wanted: bytes, begin: float, output: bytes = b"") -> bytes:
    while wanted not in output:
        ready, _, _ = select.select([fd], [], [], max(begin + TIMEOUT_S - time.monotonic(), 0))
        piece = os.read(fd, 65536) if ready else b""
        if not piece:
            raise SystemExit(f"bench: no {wanted.decode()} in {output[-2000:]!r}")
        output += piece
    return output
