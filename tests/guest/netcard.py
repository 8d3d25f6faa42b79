"""A card of a Linux guest on a tap of the host, and files that go both ways over it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.guest.linux import Report

if TYPE_CHECKING:
    from tests.guest.vmm import Vmm

TAP = "svtap0"
MAC = "52:54:00:12:34:56"
SIZE = 4 << 20
UP = """
ip addr add 10.17.0.2/24 dev eth0
ip link set eth0 up
"""
TRAFFIC = f"""
set -e
{UP}
ping -c 3 -W 5 10.17.0.1
dd if=/dev/urandom of=/up bs=64k count={SIZE >> 16} 2>/dev/null
echo "SV up=$(md5sum < /up)"
nc 10.17.0.1 9000 < /up
nc -l -p 9001 > /down < /dev/null &
until grep -q :2329 /proc/net/tcp; do sleep 0.05; done
echo LISTENING
wait
echo "SV down=$(md5sum < /down)"
echo "SV carrier=$(cat /sys/class/net/eth0/carrier)"
echo "SV queues=$(echo $(ls /sys/class/net/eth0/queues))"
echo "SV features=$(cat /sys/class/net/eth0/device/features)"
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def add_tap(name: str, address: str, *more: str) -> None:
    ip("tuntap", "add", name, "mode", "tap", *more)
    ip("addr", "add", f"{address}/24", "dev", name)
    ip("link", "set", name, "up")


def delete(name: str) -> None:
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def card(tap: str, *, more: str = "", device: str = "", name: str = "eth0") -> list[str]:
    return [
        "-netdev", f"id={tap},mac={MAC}{more}",
        "-device", f"virtio-net-device,netdev={tap},id={name}{device}",
    ]  # fmt: skip


class Receiver(threading.Thread):
    """Takes one connection and sums what comes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("10.17.0.1", 9000), reuse_port=True)
        self.digest = ""
        self.start()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        digest = hashlib.md5()
        with connection, self.listener:
            while piece := connection.recv(1 << 16):
                digest.update(piece)
        self.digest = digest.hexdigest()


def exchange(vmm: Vmm) -> tuple[Report, str, str]:
    """Send and receive files; return what the guest said, and the sums as the host saw them."""
    receiver = Receiver()
    sent = os.urandom(SIZE)
    vmm.read_until(b"LISTENING")
    with socket.create_connection(("10.17.0.2", 9001), timeout=vmm.left()) as connection:
        connection.sendall(sent)
    report = Report(*vmm.finish())
    receiver.join(vmm.left())
    return report, receiver.digest, hashlib.md5(sent).hexdigest()


def expect_traffic(vmm: Vmm) -> Report:
    report, received, sent = exchange(vmm)
    assert report.status == 0, report.errors
    assert report.script_status == 0, report.text[-3000:]
    assert report.fact("up").split()[0] == received
    assert report.fact("down").split()[0] == sent
    assert report.fact("carrier") == "1"
    return report
