"""Linux guests beside QEMU's microvm: same kernel, initramfs, disk, tap and options, pair by pair in one run.

Everything is turned so that less is better: seconds, and microseconds for a request, a MiB or a round trip.
"""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import peers
from tests.guest import programs
from tests.guest.linux import SMALL, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Figures = dict[str, float]
    Pairs = dict[str, list[tuple[float, float]]]
    Rows = list[tuple[str, str, list[tuple[float, float]]]]

RUNS = 5
BOOTS = 4  # for each of them
SECONDS = 1.5
TIMEOUT_S = 60  # a run needs 15
ATTEMPTS = 3
IDLE_S = 30.0
USED_MIB = 1024  # what the last guests left behind, several times
IMAGE_MIB = 128
LINE = "CELL"
TAP, HOST, GUEST = "sv-bench0", "10.18.0.1", "10.18.0.2"
DISK_CELLS = (
    ("random read, 4 KiB, depth 1", "read random 4096 1"),
    ("random read, 4 KiB, depth 32", "read random 4096 32"),
    ("random write, 4 KiB, depth 1", "write random 4096 1"),
    ("random write, 4 KiB, depth 32", "write random 4096 32"),
    ("sequential read, 128 KiB, depth 4", "read sequential 131072 4"),
    ("sequential write, 128 KiB, depth 4", "write sequential 131072 4"),
)
STREAMS = (("guest to host, iperf3", ""), ("host to guest, iperf3", "-R"))
STREAM_S = 2
# The last rate that iperf3 tells is what the receiver has seen.
RATE = r"""sed -n 's/.*"bits_per_second":[^0-9]*\([0-9.e+]*\).*/b\1/p' | tail -n 1"""
ROUND_TRIP = "1-byte round trip"


class GuestError(Exception):
    """A guest did not come to its end."""


class Load:
    """What a guest has and does: a disk, or a card; `variant` names the host's side of it."""

    def __init__(
        self,
        variant: str,
        script: str,
        *,
        profile: str = "",
        qemu: tuple[str, ...] = (),
        cached: Path | None = None,
    ) -> None:
        self.variant = variant
        self.cached = cached  # a file that is read before each run: the host has it in memory
        self.cmdline = words(script, end="hang", more="quiet")
        self.profile = profile
        self.qemu = qemu


def boots(runs: int) -> Rows:
    """Return what the boot of a guest without disk and card takes: a short run, so there are more of them."""
    with _place() as place:
        programs.initrd_with(SMALL[1], place / "initrd")
        return _rows(_pairs([Load("", "true")], place, BOOTS * runs))


def disks(runs: int) -> Rows:
    """Return what the disks' requests take."""
    with _place() as place:
        programs.initrd_with(SMALL[1], place / "initrd", "disk_load")
        image = place / "disk"
        image.write_bytes(os.urandom(1 << 20) * IMAGE_MIB)
        return _rows(_only("disk", _pairs(_disks(image), place, runs)))


def cards(runs: int) -> Rows:
    """Return what the cards' streams and round trips take."""
    with _place() as place, tap():
        programs.initrd_with(SMALL[1], place / "initrd", "net_load", more=programs.from_host("iperf3"))
        return _rows(_only("net", _pairs(_cards(), place, runs)))


def idle(_runs: int) -> Rows:
    """Return what an idle guest costs."""
    with _place() as place:
        programs.initrd_with(SMALL[1], place / "initrd")
        shares = [_idle(command(Load("idle", ""), place)) for command in (ours, qemu)]
    return [
        (f"CPU of an idle guest's process, {name}, {IDLE_S:.0f} s", "%", [(shares[0][i], shares[1][i])])
        for i, name in enumerate(("without its vCPU", "with it"))
    ]


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("STRATOVIRT_RIG_SCRATCH")) as folder:
        yield Path(folder)


def _pairs(loads: Iterable[Load], place: Path, runs: int) -> Pairs:
    """Return pairs of (ours, QEMU's) by name."""
    found: Pairs = {}
    for load in loads:
        for run in range(runs):
            both: dict[object, Figures] = {}
            # Each is the first one as often: what one leaves behind, the other may have of it.
            for command in (ours, qemu) if run % 2 == 0 else (qemu, ours):
                both[command] = _measured(command(load, place), load.cached)
            for name in both[ours]:
                label = f"{name}, {load.variant}" if name.startswith(("disk", "net")) else name
                found.setdefault(label, []).append((both[ours][name], both[qemu][name]))
    return found


def _only(kind: str, found: Pairs) -> Pairs:
    return {name: values for name, values in found.items() if name.startswith(kind)}


def _rows(found: Pairs) -> Rows:
    return [
        (name, "s" if name.startswith(("boot", "guest clock")) else "us", values)
        for name, values in found.items()
    ]


def _disks(image: Path) -> Iterator[Load]:
    lines = [
        f'echo "{LINE} disk, {name}=$(disk_load /dev/vda {what} {SECONDS} | sed s/^/r/)"'
        for name, what in DISK_CELLS
    ]
    for direct in (True, False):
        profile = (
            f'[iothread.io]\n[drive.disk]\nfile = "{image}"\ndirect = {str(direct).lower()}\niothread = "io"'
        )
        cache = "none" if direct else "writeback"
        drive = f"if=none,id=disk,format=raw,file={image},cache={cache},aio=io_uring"
        device = "virtio-blk-device,drive=disk,iothread=io"
        flags = ("-object", "iothread,id=io", "-drive", drive, "-device", device)
        name = "O_DIRECT" if direct else "page cache"
        yield Load(name, "\n".join(lines), profile=profile, qemu=flags, cached=None if direct else image)


def _cards() -> Iterator[Load]:
    lines = [f"ip addr add {GUEST}/24 dev eth0", "ip link set eth0 up"]
    # It waits for the link, which iperf3 does not.
    lines.append(f'echo "{LINE} net, {ROUND_TRIP}=$(net_load ask {HOST} {SECONDS})"')
    lines += [
        f'echo "{LINE} net, {name}=$(iperf3 -c {HOST} -t {STREAM_S} -J {way} | {RATE})"'
        for name, way in STREAMS
    ]
    for vhost in (False, True):
        profile = f'[net.card]\ntap = "{TAP}"\nvhost = {str(vhost).lower()}'
        netdev = f"tap,id=card,ifname={TAP},script=no,downscript=no,vhost={'on' if vhost else 'off'}"
        flags = ("-netdev", netdev, "-device", "virtio-net-device,netdev=card")
        variant = "vhost" if vhost else "tap"
        yield Load(variant, "\n".join(lines), profile=profile, qemu=flags)


@contextmanager
def tap() -> Iterator[None]:
    """Keep a tap with an address, and somebody who answers there."""
    for step in (f"tuntap add {TAP} mode tap", f"addr add {HOST}/24 dev {TAP}", f"link set {TAP} up"):
        subprocess.run(["ip", *step.split()], check=True)
    servers = [
        subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL)
        for words in ([str(programs.build("net_load")), "serve"], ["iperf3", "-s", "-B", HOST])
    ]
    try:
        yield
    finally:
        for server in servers:
            os.killpg(server.pid, 9)
            server.wait()
        subprocess.run(["ip", "link", "del", TAP], check=True)


def ours(load: Load, folder: Path) -> list[str]:
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
initrd = "{folder / "initrd"}"
cmdline = "{load.cmdline}"
[serial]
{load.profile}
"""
    )
    return [peers.SCRIPT, "run", str(profile)]


def qemu(load: Load, folder: Path) -> list[str]:
    """Return QEMU's, with io_uring, an iothread, and the clock that the guest would miss for seconds."""
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
        "-accel", "kvm", "-no-reboot", "-name", "guest,debug-threads=on",
        "-M", "microvm,x-option-roms=off,rtc=on", "-cpu", "host", "-smp", "1", "-m", "256M",
        "-kernel", str(SMALL[0]), "-initrd", str(folder / "initrd"), "-append", load.cmdline,
        "-serial", "stdio", *load.qemu,
    ]  # fmt: skip


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _measured(command: list[str], cached: Path | None) -> Figures:
    """Run a guest to its end: in a rig of two CPUs some hang or reset (tests/rig/README.md), QEMU's too."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _once(command, cached)
        except GuestError as error:
            print(f"bench: a guest of {Path(command[0]).name} {error}; once more", file=sys.stderr)
    return _once(command, cached)


def _forget_code() -> None:
    """Have the host overwrite the memory that the last guests had.

    The emulation of a rig watches pages that held code: to clear one of them takes a hundred times as long
    as another (0.8 s for a huge page), and which guest gets them is chance.
    """
    populate = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    mmap.mmap(-1, USED_MIB << 20, flags=populate).close()


def _once(command: list[str], cached: Path | None) -> Figures:
    """Run a guest; return seconds to its init, and what each cell said."""
    _forget_code()
    if cached is not None:
        cached.read_bytes()
    begin = time.monotonic()
    with _running(command) as process:
        output = _read_until(process, b"SV-BEGIN", begin)
        figures = {"boot from exec to init": time.monotonic() - begin}
        output = _read_until(process, b"SV-END", begin, output)
    for line in output.decode(errors="replace").splitlines():
        if line.startswith("SV uptime="):
            figures["guest clock when its init is through"] = float(line.partition("=")[2])
        if line.startswith(LINE):
            name, _, value = line.removeprefix(f"{LINE} ").rpartition("=")
            if not value:
                raise GuestError(f"has no figure for {name}")
            figures[name] = _turned_round(value)
    return figures


def _turned_round(value: str) -> float:
    """Return microseconds for one of `r` requests a second, for a MiB at `b` bits a second, or as told."""
    if value.startswith("r"):
        return 1e6 / float(value[1:])
    return 8e6 * (1 << 20) / float(value[1:]) if value.startswith("b") else float(value)


def _idle(command: list[str]) -> tuple[float, float]:
    """Return the percent of a CPU that an idle guest's process uses: without its vCPU, and with it."""
    begin = time.monotonic()
    with _running(command) as process:
        _read_until(process, b"SV-END hang", begin)
        select.select([], [], [], 2.0)  # the last of the boot
        before = _ticks(process.pid)
        select.select([], [], [], IDLE_S)
        after = _ticks(process.pid)
    share = 100 / os.sysconf("SC_CLK_TCK") / IDLE_S
    # The kernel counts whole ticks: less than one is not nothing.
    return max(after[0] - before[0], 1) * share, max(after[1] - before[1], 1) * share


def _ticks(pid: int) -> tuple[int, int]:
    """Return user and system time of a process: without its vCPUs, and with them."""
    others = both = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, fields = (task / "stat").read_text().partition("(")[2].rpartition(")")
        ticks = sum(int(word) for word in fields.split()[11:13])
        both += ticks
        others += 0 if name.startswith("CPU ") else ticks
    return others, both


def _read_until(process: subprocess.Popen[bytes], wanted: bytes, begin: float, output: bytes = b"") -> bytes:
    assert process.stdout is not None
    while wanted not in output:
        ready, _, _ = select.select([process.stdout], [], [], max(begin + TIMEOUT_S - time.monotonic(), 0))
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not piece:
            how = f"ended with {process.wait()}" if ready else f"hung for {TIMEOUT_S} s"
            raise GuestError(f"{how} after {output[-60:]!r}")
        output += piece
    return output
