"""Network cards with Linux's own driver: taps by name and descriptor, vhost, several queues, hot replace."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from stratovirt.virtio import tap as taps
from tests.guest.counts import sleeps
from tests.guest.linux import GUESTS, SMALL, TIMEOUT_S, Report, flags, words
from tests.guest.programs import initrd_with
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

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


@pytest.fixture
def tap() -> Iterator[str]:
    """Yield the name of a tap with the host's address."""
    add_tap(TAP, "10.17.0.1")
    yield TAP
    delete(TAP)


@pytest.fixture
def wide_tap() -> Iterator[str]:
    """Yield the name of a tap that takes several queues."""
    add_tap(TAP, "10.17.0.1", "multi_queue")
    yield TAP
    delete(TAP)


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


VARIANTS = {
    "tap": ("", ""),
    "iothread": ("", ",iothread=net"),
    "vhost": (",vhost=on", ""),
}


@pytest.mark.guidebook("2.3 host_dev_name", "2.3 mac", "2.3 vhost")
@pytest.mark.parametrize("variant", VARIANTS)
def test_files_go_both_ways_unchanged(variant: str, tap: str, tmp_path: Path) -> None:
    more, device = VARIANTS[variant]
    thread = ["-iothread", "id=net"] if device else []
    command = flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *thread, *card(tap, more=more, device=device))
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = expect_traffic(vmm)

    assert f"eth0 mac={MAC}" in report.facts("net")
    assert report.fact("queues") == "rx-0 tx-0"
    accepted = report.fact("features")
    offloads = [0, 1, 7, 8, 11, 12, 14, 15]  # checksums, segmentation, mergeable buffers
    assert [accepted[bit] for bit in offloads] == ["1"] * len(offloads)


@pytest.mark.guidebook("2.3 iothread")
def test_the_thread_that_a_card_names_serves_it_and_no_other_one_does(tap: str, tmp_path: Path) -> None:
    threads = ("-iothread", "id=net", "-iothread", "id=other")
    device = card(tap, device=",iothread=net")
    with Vmm(*flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *threads, *device), timeout=TIMEOUT_S) as vmm:
        receiver = Receiver()
        vmm.read_until(b"LISTENING")  # a file has gone up
        turns = sleeps(vmm.process.pid)
        receiver.join(vmm.left())

    assert turns["net"] >= 20
    assert turns["other"] < 10


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_two_vcpus_use_two_pairs_of_queues(more: str, wide_tap: str, tmp_path: Path) -> None:
    command = flags(
        SMALL, words(TRAFFIC), tmp_path / "qmp", "-smp", "2", *card(wide_tap, more=f",queues=2{more}")
    )
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = expect_traffic(vmm)

    assert report.fact("queues") == "rx-0 rx-1 tx-0 tx-1"


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_pair_of_queues_that_was_given_up_is_used_again_where_it_was_left(
    more: str, wide_tap: str, tmp_path: Path
) -> None:
    script = f"""
set -e
{UP}
both() {{ for cpus in 1 2; do taskset $cpus ping -c 20 -i 0.05 -W 5 10.17.0.1; done; }}
both
for pairs in 1 2 1 2; do set_pairs eth0 $pairs; both; done
"""
    kernel, initrd = SMALL[0], initrd_with(SMALL[1], tmp_path / "initrd", "set_pairs")
    queues = card(wide_tap, more=f",queues=2{more}")
    command = flags((kernel, initrd), words(script), tmp_path / "qmp", "-smp", "2", *queues)
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        report = Report(*vmm.finish())

    assert (report.status, report.script_status, report.errors) == (0, 0, ""), report.text[-3000:]
    assert report.text.count("20 packets received") == 2 * 5, report.text[-3000:]
    assert "is not a head" not in report.text


@pytest.mark.parametrize("queues", [1, 2])
def test_a_tap_comes_by_inherited_descriptors(queues: int, tmp_path: Path) -> None:
    opened = taps.open_named("test", TAP, queues)
    ip("addr", "add", "10.17.0.1/24", "dev", TAP)
    ip("link", "set", TAP, "up")
    netdev = f"id=any,mac={MAC},fds={':'.join(map(str, opened))}"
    command = flags(
        SMALL, words(TRAFFIC), tmp_path / "qmp", "-smp", "2",
        "-netdev", netdev, "-device", "virtio-net-device,netdev=any,id=eth0",
    )  # fmt: skip
    try:
        with Vmm(*command, timeout=TIMEOUT_S, fds=opened) as vmm:
            report = expect_traffic(vmm)
    finally:
        taps.close(opened)

    assert len(report.fact("queues").split()) == 2 * queues


def test_vhost_comes_by_an_inherited_descriptor(tap: str, tmp_path: Path) -> None:
    vhost = os.open("/dev/vhost-net", os.O_RDWR)
    command = flags(SMALL, words(TRAFFIC), tmp_path / "qmp", *card(tap, more=f",vhost=on,vhostfds={vhost}"))
    try:
        with Vmm(*command, timeout=TIMEOUT_S, fds=[vhost]) as vmm:
            expect_traffic(vmm)
    finally:
        os.close(vhost)


@pytest.mark.guidebook("2.3 how-to")
def test_the_how_to_of_the_guidebook_reaches_both_sides(tmp_path: Path) -> None:
    script = """
ip link set eth0 up
ip addr add 1.1.1.2/24 dev eth0
ping -c 1 -W 10 1.1.1.1 || exit 1
echo UP
read -t 60 line
"""
    ip("link", "add", "qbr0", "type", "bridge")
    try:
        ip("tuntap", "add", "tap0", "mode", "tap")
        for words_of_ip in ("tap0 master qbr0", "qbr0 up", "tap0 up"):
            ip("link", "set", *words_of_ip.split())
        ip("addr", "add", "1.1.1.1/24", "dev", "qbr0")
        command = flags(
            SMALL, words(script), tmp_path / "qmp",
            "-netdev", "id=net-0,netdev=tap0", "-device", "virtio-net-device,netdev=net-0,id=net-0",
        )  # fmt: skip
        with Vmm(*command, timeout=TIMEOUT_S, stdin=subprocess.PIPE) as vmm:
            vmm.read_until(b"UP")
            ping = [str(GUESTS / "busybox"), "ping", "-c", "1", "-W", "10", "1.1.1.2"]
            subprocess.run(ping, check=True, capture_output=True)
            assert vmm.process.stdin is not None
            vmm.process.stdin.write(b"\n")
            vmm.process.stdin.flush()
            report = Report(*vmm.finish())
    finally:
        delete("tap0")
        delete("qbr0")

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:]


def test_two_cards_each_reach_their_own_network(tap: str, tmp_path: Path) -> None:
    script = f"""
{UP}
ip addr add 10.18.0.2/24 dev eth1
ip link set eth1 up
ping -c 2 -W 5 10.17.0.1 && ping -c 2 -W 5 10.18.0.1
"""
    add_tap("svtap1", "10.18.0.1")
    second = ["-netdev", "id=svtap1", "-device", "virtio-net-device,netdev=svtap1,id=eth1"]
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap), *second)
    try:
        with Vmm(*command, timeout=TIMEOUT_S) as vmm:
            report = Report(*vmm.finish())
    finally:
        delete("svtap1")

    assert (report.status, report.script_status) == (0, 0), report.errors
    first_mac, second_mac = (line.split("mac=")[1] for line in report.facts("net"))
    assert first_mac == MAC
    assert second_mac not in {MAC, "00:00:00:00:00:00"}  # none was given: the guest made its own


def test_a_driver_can_be_unbound_and_bound_again(tap: str, tmp_path: Path) -> None:
    script = f"""
cd /sys/bus/virtio/drivers/virtio_net
device=$(basename $(readlink -f /sys/class/net/eth0/device))
for round in 1 2 3; do
  {UP}
  ping -c 1 -W 5 10.17.0.1 || exit 1
  echo "$device" > unbind
  test ! -e /sys/class/net/eth0 || exit 2
  echo "$device" > bind
done
"""
    with Vmm(*flags(SMALL, words(script), tmp_path / "qmp", *card(tap)), timeout=TIMEOUT_S) as vmm:
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:]


def wait_carrier(state: str) -> str:
    return f'until [ "$(cat /sys/class/net/eth0/carrier)" = {state} ]; do sleep 0.1; done'


ROUNDS = 5
USE_TAPS = f"""
{UP}
for round in $(seq {ROUNDS}); do
  echo "WAITS $round"
  {wait_carrier("1")}
  ping -c 1 -W 10 10.17.0.1 || exit 1
  echo "USED $round"
  {wait_carrier("0")}
done
"""


@pytest.mark.guidebook("3.4.2 net", "2.3 netid", "3.3.5 getfd")
def test_a_tap_comes_and_goes_five_times_by_name_and_by_descriptor(tap: str, tmp_path: Path) -> None:
    command = flags(SMALL, words(USE_TAPS), tmp_path / "qmp")
    with (
        Vmm(*command, timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        for number in range(1, ROUNDS + 1):
            vmm.read_until(f"WAITS {number}\r\n".encode())
            if number % 2:
                qmp.call("netdev_add", id="net-0", ifname=tap)
            else:
                (opened,) = taps.open_named("test", tap, 1)
                qmp.pass_fd(opened, "tap-fd")
                os.close(opened)
                qmp.call("netdev_add", id="net-0", fds="tap-fd")
            qmp.call("device_add", id="net-0", driver="virtio-net-mmio", addr="0x0")
            vmm.read_until(f"USED {number}\r\n".encode())
            qmp.call("device_del", id="net-0")
            assert qmp.messages[-2]["data"] == {"device": "net-0", "path": "net-0"}
            taps.close(taps.open_named("test", tap, 1))  # it is free again
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:] + report.errors


def test_a_tap_is_replaced_while_the_guest_runs(tap: str, tmp_path: Path) -> None:
    script = f"""
{UP}
ip addr add 10.18.0.2/24 dev eth0
ping -c 1 -W 5 10.17.0.1 || exit 1
echo FIRST
{wait_carrier("0")}
echo DOWN
{wait_carrier("1")}
ping -c 1 -W 5 10.18.0.1 || exit 2
"""
    add_tap("svtap1", "10.18.0.1")
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap, name="netid"))
    try:
        with (
            Vmm(*command, timeout=TIMEOUT_S) as vmm,
            closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
        ):
            vmm.read_until(b"FIRST")
            qmp.call("device_del", id="netid")
            vmm.read_until(b"DOWN")
            qmp.call("netdev_add", id="other", ifname="svtap1")
            qmp.call("device_add", id="other", driver="virtio-net-mmio", addr="0x0")
            report = Report(*vmm.finish())
    finally:
        delete("svtap1")

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:] + report.errors


@pytest.mark.parametrize(("addr", "message"), [("0x0", "is served by vhost"), ("0x1", "Device or resource")])
def test_what_cannot_be_replaced_is_told(addr: str, message: str, tap: str, tmp_path: Path) -> None:
    command = flags(SMALL, words(end="hang"), tmp_path / "qmp", *card(tap, more=",vhost=on"))
    with (
        Vmm(*command, timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        if addr == "0x0":
            with pytest.raises(RuntimeError, match=message):
                qmp.call("device_del", id="eth0")
        else:
            qmp.call("netdev_add", id="other", ifname=tap)
            with pytest.raises(RuntimeError, match=message):
                qmp.call("device_add", id="other", driver="virtio-net-mmio", addr=addr)
        qmp.call("quit")
        report = Report(*vmm.finish())

    assert report.status == 0, report.errors


@pytest.mark.parametrize("more", ["", ",vhost=on"], ids=["tap", "vhost"])
def test_a_tap_that_is_deleted_takes_the_link_with_it(more: str, tap: str, tmp_path: Path) -> None:
    script = f"{UP}\necho UP\n{wait_carrier('0')}"
    command = flags(SMALL, words(script), tmp_path / "qmp", *card(tap, more=more))
    with Vmm(*command, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"UP")
        delete(tap)
        report = Report(*vmm.finish())

    assert (report.status, report.script_status) == (0, 0), report.text[-2000:]
    assert "net 'eth0': the tap is gone and the link is down" in report.errors


def test_vhost_auto_without_vhost_says_so_and_goes_on(tap: str, tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(
        f"""
version = 1
[boot]
kernel = "{SMALL[0]}"
initrd = "{SMALL[1]}"
cmdline = "{words(TRAFFIC)}"
[serial]
[net.eth0]
tap = "{tap}"
mac = "{MAC}"
vhost = "auto"
"""
    )
    command = [sys.executable, "-c", WITHOUT_VHOST]
    with Vmm("run", profile, timeout=TIMEOUT_S, command=command) as vmm:
        report = expect_traffic(vmm)

    (line,) = report.errors.splitlines()
    assert "net 'eth0': open /dev/no-vhost" in line


WITHOUT_VHOST = """
from stratovirt import cli
from stratovirt.virtio import network_card
network_card.VHOST_DEVICE = "/dev/no-vhost"
cli.main()
"""
