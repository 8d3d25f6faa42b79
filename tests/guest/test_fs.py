"""A folder of the host by virtiofsd, with Linux's own driver."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import CLOUD, TIMEOUT_S, Report, flags, words
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

DATA = random.Random(5).randbytes(3 << 20)
TAG = "kataShared"
PROFILE = Path(__file__).parents[2] / "profiles" / "shared-folder.toml"

SHARE = f"""
set -e
mkdir -p /mnt
use() {{
mount -t virtiofs {TAG} /mnt
md5sum /mnt/from-host
cp /mnt/from-host /mnt/$1
mkdir /mnt/folder-$1
mv /mnt/$1 /mnt/folder-$1/copy
umount /mnt
}}
use first
use second
cd /sys/bus/virtio/drivers/virtiofs
device=$(ls -d virtio*)
echo $device >unbind
echo $device >bind
use third
"""

# Linux would wait for the daemon at its end, too.
LOSE = """
set -e
mkdir -p /mnt
mount -t virtiofs work /mnt
ls /mnt
echo MOUNTED
read word </dev/ttyS0
echo GOES ON $word
"""


def virtiofsd() -> str:
    """Return the daemon of Debian 12's QEMU, or a later one of its own; the test is skipped without."""
    for name in ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "virtiofsd"):
        found = shutil.which(name)
        if found is not None:
            return found
    pytest.skip("needs virtiofsd (Debian's qemu-system-common)")


@contextmanager
def served(folder: Path, socket: Path) -> Iterator[subprocess.Popen[str]]:
    """Serve a folder; the daemon ends with its client."""
    command = [virtiofsd(), f"--socket-path={socket}", "-o", f"source={folder}", "-o", "sandbox=chroot", "-f"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        try:
            while "Waiting for vhost-user" not in daemon.stderr.readline():
                assert daemon.poll() is None
            yield daemon
        finally:
            daemon.kill()


def test_linux_reads_and_writes_a_folder_of_the_host(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "from-host").write_bytes(DATA)
    socket = tmp_path / "fs.sock"
    device = (
        *("-chardev", f"socket,id=virtio_fs,path={socket},server,nowait"),
        *("-device", f"vhost-user-fs-device,chardev=virtio_fs,tag={TAG},id=virtio-fs0"),
    )
    line = flags(CLOUD, words(SHARE), tmp_path / "qmp", *device)
    with served(share, socket), Vmm(*line, timeout=TIMEOUT_S) as vmm:
        report = Report(*vmm.finish())

    assert report.script_status == 0, report.text[-3000:]
    assert report.text.count(hashlib.md5(DATA).hexdigest()) == 3
    for name in ("first", "second", "third"):
        assert (share / f"folder-{name}" / "copy").read_bytes() == DATA


def test_a_daemon_that_ends_is_told_and_the_guest_goes_on_without(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (share / "found").touch()
    profile = tmp_path / "vm.toml"
    text = PROFILE.read_text().replace("/tmp/stratovirt-work.sock", "fs.sock")
    text = text.replace("../", f"{PROFILE.parents[1]}/")
    profile.write_text(text.replace("console=ttyS0 reboot=k panic=1 sv.end=ask", words(LOSE, end="hang")))
    start = partial(Vmm, "run", profile, stdin=subprocess.PIPE, timeout=TIMEOUT_S)
    with served(share, tmp_path / "fs.sock") as daemon, start() as vmm:
        vmm.read_until(b"MOUNTED")
        daemon.kill()
        vmm.type(b"now\n")
        vmm.read_until(b"GOES ON now")
        vmm.process.terminate()
        status, output, errors = vmm.finish()

    assert status == 0
    assert b"found" in output
    assert "fs 'work': whoever serves its queues is gone: this machine does without" in errors
