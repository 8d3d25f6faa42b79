"""Kata Containers' command line and requests, as its driver sends them, with Linux's drivers."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import socket
import subprocess
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio import tap as taps
from tests.guest.linux import SMALL, TIMEOUT_S
from tests.guest.netcard import ip
from tests.guest.programs import initrd_with
from tests.guest.test_console import Client
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

TAP = "svkata0"
MAC = "02:42:ac:11:00:02"
CID = 77
PORT = 1024
WORDS = "reboot=k panic=1 net.ifnames=0 pci=off iommu=off acpi=off debug console=hvc0"
DATA = random.Random(3).randbytes(1 << 20)
SCRIPT = f"""
ip addr add 10.17.0.2/24 dev eth0
ip link set eth0 up
ping -c 3 -W 5 10.17.0.1 >/dev/null && echo PINGED $(cat /sys/class/net/eth0/address)
dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c | sed 's/^/RANDOM /'
echo WAITS
while [ $(cat /sys/block/vdb/size) = 0 ]; do sleep 0.05; done
md5sum </dev/vdb | sed 's/^/DISK /'
echo from the guest | vsock_cat connect 2 {PORT}
"""


class Sandbox:
    """What Kata Containers prepares for a sandbox: open descriptors, an initrd, a block device."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.queues = taps.open_named("test", TAP, 2)
        stack.callback(taps.close, self.queues)
        ip("addr", "add", "10.17.0.1/24", "dev", TAP)
        ip("link", "set", TAP, "up")
        self.vhost = os.open("/dev/vhost-vsock", os.O_RDWR)
        stack.callback(os.close, self.vhost)
        self.listener = stack.enter_context(socket.socket(socket.AF_VSOCK))
        self.listener.bind((socket.VMADDR_CID_ANY, PORT))
        self.listener.listen()
        self.initrd = initrd_with(SMALL[1], folder / "initrd", "vsock_cat")
        (folder / "disk").write_bytes(DATA)
        found = subprocess.run(
            ["losetup", "-f", "--show", folder / "disk"], check=True, capture_output=True, text=True
        )
        self.disk = found.stdout.strip()
        stack.callback(subprocess.run, ["losetup", "-d", self.disk], check=True)

    def command_line(self) -> list[str]:
        """Return the words of its driver: debugging on, no shared folder."""
        run = base64.b64encode(SCRIPT.encode()).decode()
        return [
            "-name", "sandbox-8a1f", "-uuid", "9e2c7f10-5a0b-4c7e-8d21-3b6f0d5e9a44",
            "-smp", "2", "-m", "512",
            "-kernel", str(SMALL[0]), "-append", f"{WORDS} sv.run={run}",
            "-qmp", f"unix:{self.folder}/qmp.socket,server,nowait", "-D", "-disable-seccomp",
            "-machine", "type=microvm,dump-guest-core=off", "-initrd", str(self.initrd),
            "-object", "rng-random,id=objrng0,filename=/dev/urandom",
            "-device", "virtio-rng-device,rng=objrng0,id=virtio-rng0",
            "-device", "virtio-serial-device,id=virtio-serial0",
            "-chardev", f"socket,id=charconsole0,path={self.folder}/console.socket,server,nowait",
            "-device", "virtconsole,chardev=charconsole0,id=virtio-console0,nr=0",
            "-device", f"vhost-vsock-device,id=vsock-id,guest-cid={CID},vhostfd={self.vhost}",
            "-netdev", f"tap,id={TAP},fds={':'.join(map(str, self.queues))}",
            "-device", f"virtio-net-device,netdev={TAP},id={TAP},mac={MAC}",
        ]  # fmt: skip

    def start(self) -> Vmm:
        env = {"STRATOVIRT_LOG_LEVEL": "info"}  # nothing else, when debugging is on
        return Vmm(*self.command_line(), timeout=TIMEOUT_S, fds=[self.vhost, *self.queues], env=env)

    def negotiate(self, vmm: Vmm) -> Qmp:
        """Connect as its library does, which wants to know of QEMU 5.0 or later."""
        qmp = Qmp(self.folder / "qmp.socket", vmm.deadline)
        assert qmp.greeting["QMP"]["version"]["qemu"]["major"] >= 5
        qmp.call("qmp_capabilities")
        return qmp

    def add_disk(self, qmp: Qmp, slot: int) -> None:
        image = {"driver": "host_device", "filename": self.disk, "aio": "native"}
        qmp.call("blockdev-add", **{"driver": "raw", "node-name": "d", "read-only": False, "file": image})
        qmp.call("device_add", id="d", driver="virtio-blk-mmio", drive="d", addr=str(slot), romfile="")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with ExitStack() as stack:
        yield Sandbox(tmp_path, stack)


def test_kata_containers_starts_a_sandbox_and_gives_it_a_disk(sandbox: Sandbox) -> None:
    with sandbox.start() as vmm:
        sandbox.negotiate(vmm).close()
        with closing(Client(sandbox.folder / "console.socket", vmm)) as console:
            heard = console.read_until(b"WAITS")
            with closing(sandbox.negotiate(vmm)) as qmp:
                sandbox.add_disk(qmp, 1)
            heard += console.read_until(b"  -")  # the end of md5sum's line
            sandbox.listener.settimeout(vmm.left())
            connection, peer = sandbox.listener.accept()
            with connection:
                said = connection.recv(4096)
                connection.shutdown(socket.SHUT_WR)
        vmm.process.send_signal(signal.SIGKILL)  # as it ends a sandbox
        _, output, errors = vmm.finish()

    assert output == b""
    assert ":INFO: " in errors
    assert ":ERROR: " not in errors
    assert f"PINGED {MAC}".encode() in heard
    assert b"RANDOM 64" in heard
    assert hashlib.md5(DATA).hexdigest().encode() in heard
    assert (peer[0], said) == (CID, b"from the guest\n")
