"""A Linux guest that writes records to a file system until its machine is killed; what the next one finds."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

from tests.guest.linux import SMALL, TIMEOUT_S, flags, words
from tests.guest.machines import empty_image
from tests.guest.programs import from_host, initrd_with
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 64 << 20
# Mounting replays the journal. What tests/guest/programs/write_records.c left is looked at, and goes on.
WRITE = """
mkdir -p /tmp/d
if [ "$sv_only_look" ]; then e2fsck -fp /dev/vda >/tmp/fsck; [ $? -le 1 ] || { cat /tmp/fsck; exit 4; }; fi
mount -t ext4 /dev/vda /tmp/d || exit 5
touch /tmp/d/log
n=$(wc -l </tmp/d/log)
seq 1 $n | cmp - /tmp/d/log || exit 6
for tenth in $(seq 10 10 $n); do [ "$(cat /tmp/d/f$tenth)" = $tenth ] || exit 7; done
echo FOUND $n
[ "$sv_only_look" ] || write_records /tmp/d $((n + 1))
umount /tmp/d
if [ "$sv_only_look" ]; then e2fsck -fn /dev/vda >/tmp/fsck || { cat /tmp/fsck; exit 8; }; fi
"""


def make_image(path: Path) -> Path:
    image = empty_image(path, SIZE)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=True)
    return image


def machine(folder: Path, image: Path, *, direct: bool, look: bool = False) -> Vmm:
    drive = f"id=d,file={image},direct={'on' if direct else 'off'}"
    script = f"sv_only_look={'1' if look else ''}\n{WRITE}"
    more = from_host("e2fsck") if look else ()
    kernel = (SMALL[0], initrd_with(SMALL[1], folder / "initrd", "write_records", more=more))
    given = flags(kernel, words(script, more="quiet"), folder / "qmp", "-drive", drive)
    return Vmm(*given, "-device", "virtio-blk-device,drive=d", timeout=TIMEOUT_S)


def numbers(output: bytes, word: str) -> list[int]:
    """Return the numbers that the guest said after a word, on whole lines."""
    lines = output[: output.rfind(b"\n") + 1].decode(errors="replace").splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]


def kill_after(records: int, folder: Path, image: Path, *, direct: bool) -> tuple[int, int]:
    """Kill a machine at a moment after it has acknowledged so many more.

    Return what it found, and acknowledged last.
    """
    moment = random.Random(records).randrange(300)  # in bytes that it says
    with machine(folder, image, direct=direct) as vmm:
        (found,) = numbers(vmm.read_until(b"ACK "), "FOUND")
        heard = len(vmm.read_until(f"ACK {found + records}\r\n".encode())) + moment
        while len(vmm.output) < heard:
            vmm.read_more("the guest says nothing more")
        vmm.process.kill()
        output = vmm.finish()[1]
    return found, numbers(output, "ACK")[-1]


def look(folder: Path, image: Path, *, direct: bool) -> int:
    """Return how many records a new machine finds; its file system is clean afterwards."""
    with machine(folder, image, direct=direct, look=True) as vmm:
        status, output, errors = vmm.finish()
    assert (status, errors) == (0, "")
    assert b"SV-EXIT 0" in output, output[-2000:]
    subprocess.run(["e2fsck", "-fn", str(image)], check=True, capture_output=True)
    (found,) = numbers(output, "FOUND")
    return found
